//! The controls of a neighbour, on its own port beside the service's routes.

use actix_web::{
    HttpResponse,
    web::{self, Bytes, Data, ServiceConfig},
};

use super::{Service, calls::CallLog, faults::Faults, gate::Gate};

pub(super) fn routes<S: Service>(config: &mut ServiceConfig) {
    config
        .service(web::resource("/sandbox/faults").get(faults).put(inject).delete(recover))
        .service(web::resource("/sandbox/calls").get(calls).delete(forget_calls))
        .route("/sandbox/reset", web::post().to(reset::<S>));
}

async fn faults(gate: Data<Gate>) -> HttpResponse {
    HttpResponse::Ok().json(gate.faults())
}

async fn inject(gate: Data<Gate>, body: Bytes) -> HttpResponse {
    let faults: Faults = match serde_json::from_slice(&body) {
        Ok(faults) => faults,
        Err(err) => return HttpResponse::BadRequest().body(err.to_string()),
    };
    if let Some(failures) = &faults.failures
        && !(0.0..=1.0).contains(&failures.rate)
    {
        return HttpResponse::BadRequest().body("rate is outside 0..=1");
    }
    gate.inject(faults.clone());
    HttpResponse::Ok().json(faults)
}

async fn recover(gate: Data<Gate>) -> HttpResponse {
    gate.inject(Faults::default());
    HttpResponse::NoContent().finish()
}

async fn calls(gate: Data<Gate>) -> HttpResponse {
    HttpResponse::Ok().json(&*gate.calls())
}

async fn forget_calls(gate: Data<Gate>) -> HttpResponse {
    *gate.calls() = CallLog::default();
    HttpResponse::NoContent().finish()
}

/// Back to the state after the start: healthy, uncalled, and without memory.
async fn reset<S: Service>(gate: Data<Gate>, service: Data<S>) -> HttpResponse {
    service.reset();
    gate.inject(Faults::default());
    *gate.calls() = CallLog::default();
    HttpResponse::NoContent().finish()
}
