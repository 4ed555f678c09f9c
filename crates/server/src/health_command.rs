//! `globeco health`: whether a service is alive, for a container that has nothing else to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use crate::config::{self, Http, Overrides};

/// Long enough for a busy service, and shorter than the image's own patience.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Args)]
pub(crate) struct Options {
    /// The service's address, such as `http://127.0.0.1:8080`; without it, what HOST and PORT say.
    url: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let base = match options.url {
        Some(url) => url,
        None => here(&config::load(&[], &Overrides::default())?.http)?,
    };
    let url = format!("{}/health/live", base.trim_end_matches('/'));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let status = client.get(&url).send().await.with_context(|| format!("{url} cannot be reached"))?.status();
    ensure!(status.is_success(), "{url} answered {status}");
    Ok(())
}

/// Where a service of these settings is to be found from the same machine.
fn here(http: &Http) -> anyhow::Result<String> {
    ensure!(http.port != 0, "the service took any free port: give its address");
    let Ok(address) = http.host.parse::<IpAddr>() else {
        return Ok(format!("http://{}:{}", http.host, http.port));
    };
    let address = match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    };
    Ok(format!("http://{}", SocketAddr::new(address, http.port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_all_addresses_is_found_on_this_machines_own() {
        let mut http = config::load(&[], &Overrides::default()).unwrap().http;
        for (host, port, expected) in [
            ("0.0.0.0", 8080, Some("http://127.0.0.1:8080")),
            ("::", 8080, Some("http://[::1]:8080")),
            ("10.1.2.3", 80, Some("http://10.1.2.3:80")),
            ("localhost", 8088, Some("http://localhost:8088")),
            ("0.0.0.0", 0, None),
        ] {
            (http.host, http.port) = (host.to_owned(), port);
            assert_eq!(here(&http).ok().as_deref(), expected, "{host} {port}");
        }
    }
}
