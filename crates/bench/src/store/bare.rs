//! The driver alone, on documents that a store made.

use anyhow::{Context as _, Result};
use domain::Timestamp;
use domain::identifier::ModelId;
use domain::order_generation::model::Model;
use futures_util::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::ElementType;
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Database};

pub(crate) struct Bare {
    client: Client,
    database: Database,
    has_transactions: bool,
}

/// What a store made of one rebalance.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) header: RawDocumentBuf,
    pub(crate) id: ObjectId,
    /// `None` where the header holds the portfolios.
    pub(crate) recording: Option<ObjectId>,
    pub(crate) portfolios: Vec<RawDocumentBuf>,
    pub(crate) model: ObjectId,
    pub(crate) date: DateTime,
}

impl Bare {
    pub(crate) async fn connect(url: &str, database: &str) -> Result<Self> {
        let mut options = ClientOptions::parse(url).await?;
        options.read_concern = Some(ReadConcern::majority());
        options.write_concern =
            Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        let client = Client::with_options(options)?;
        let database = client.database(database);
        let hello = database.run_command(doc! { "hello": 1 }).await?;
        Ok(Self { client, database, has_transactions: hello.contains_key("setName") })
    }

    /// What a store made of the only model there is but for `other`.
    pub(crate) async fn model_beside(&self, other: &ModelId) -> Result<RawDocumentBuf> {
        let which = doc! { "_id": { "$ne": ObjectId::from_bytes(other.bytes()) } };
        self.collection("models").find_one(which).await?.context("the model is gone")
    }

    /// The same of another model.
    pub(crate) fn another_model(pattern: &RawDocumentBuf, model: &Model) -> Result<RawDocumentBuf> {
        let mut document = Document::try_from(pattern.as_ref())?;
        document.insert("_id", ObjectId::from_bytes(model.id.bytes()));
        document.insert("name", model.name.as_str());
        Ok(RawDocumentBuf::try_from(&document)?)
    }

    pub(crate) async fn insert_model(&self, document: &RawDocumentBuf) -> Result<()> {
        self.collection("models").insert_one(document).await?;
        Ok(())
    }

    pub(crate) async fn find_model(&self, id: &ModelId) -> Result<RawDocumentBuf> {
        let which = doc! { "_id": ObjectId::from_bytes(id.bytes()) };
        self.collection("models").find_one(which).await?.context("the model is gone")
    }

    /// What a store made of the only rebalance there is.
    pub(crate) async fn recorded(&self) -> Result<Recorded> {
        let header = self.collection("rebalances").find_one(doc! {}).await?;
        let header = header.context("the rebalance is gone")?;
        let portfolios = self.collection("rebalance_portfolios");
        let portfolios = portfolios.find(doc! {}).sort(doc! { "ordinal": 1 });
        Ok(Recorded {
            id: header.get_object_id("_id")?,
            recording: header.get_object_id("recording").ok(),
            model: header.get_object_id("model_id")?,
            date: header.get_datetime("rebalance_date")?,
            portfolios: portfolios.await?.try_collect().await?,
            header,
        })
    }

    pub(crate) async fn record(&self, recorded: &Recorded) -> Result<()> {
        if self.has_transactions {
            let mut session = self.client.start_session().await?;
            session.start_transaction().await?;
            self.record_within(&mut session, recorded).await?;
            session.commit_transaction().await?;
            return Ok(());
        }
        // As the store does it: what comes before the last step is journaled with it.
        let unawaited = WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(false).build();
        if !recorded.portfolios.is_empty() {
            let portfolios = self.collection("rebalance_portfolios");
            portfolios.insert_many(&recorded.portfolios).write_concern(unawaited.clone()).await?;
        }
        let (which, later) = recorded.model_date();
        self.collection("models").update_one(which, later).write_concern(unawaited).await?;
        self.collection("rebalances").insert_one(&recorded.header).await?;
        Ok(())
    }

    async fn record_within(&self, session: &mut ClientSession, recorded: &Recorded) -> Result<()> {
        self.collection("rebalances").insert_one(&recorded.header).session(&mut *session).await?;
        if !recorded.portfolios.is_empty() {
            let portfolios = self.collection("rebalance_portfolios");
            portfolios.insert_many(&recorded.portfolios).session(&mut *session).await?;
        }
        let (which, later) = recorded.model_date();
        self.collection("models").update_one(which, later).session(session).await?;
        Ok(())
    }

    pub(crate) async fn read(&self, recorded: &Recorded) -> Result<Vec<RawDocumentBuf>> {
        let header = self.collection("rebalances").find_one(doc! { "_id": recorded.id }).await?;
        let header = header.context("the rebalance is gone")?;
        let Some(recording) = recorded.recording else {
            return Ok(vec![header]);
        };
        let portfolios = self.collection("rebalance_portfolios");
        let found = portfolios.find(doc! { "recording": recording }).sort(doc! { "ordinal": 1 });
        Ok(found.await?.try_collect().await?)
    }

    pub(crate) async fn any(&self, collection: &str) -> Result<RawDocumentBuf> {
        self.collection(collection)
            .find_one(doc! {})
            .await?
            .with_context(|| format!("there are no {collection}"))
    }

    pub(crate) async fn find(&self, collection: &str, id: ObjectId) -> Result<Option<RawDocumentBuf>> {
        Ok(self.collection(collection).find_one(doc! { "_id": id }).await?)
    }

    /// The server's process.
    pub(crate) async fn pid(&self) -> Result<u32> {
        let status = self.database.run_command(doc! { "serverStatus": 1 }).await?;
        let pid = status.get_i64("pid").or_else(|_| status.get_i32("pid").map(i64::from));
        Ok(pid?.try_into()?)
    }

    /// Removes every rebalance.
    pub(crate) async fn clear(&self) -> Result<()> {
        for name in ["rebalances", "rebalance_portfolios", "rebalance_leftovers"] {
            self.database.collection::<Document>(name).delete_many(doc! {}).await?;
        }
        Ok(())
    }

    pub(crate) async fn drop_database(&self) -> Result<()> {
        Ok(self.database.drop().await?)
    }

    fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }
}

impl Recorded {
    /// The same of another rebalance, of another date.
    pub(crate) fn another(&self, date: Timestamp) -> Self {
        let (id, recording) = (ObjectId::new(), self.recording.map(|_| ObjectId::new()));
        let ids = |document: &RawDocumentBuf, own: ObjectId| {
            let document = with_id(document, "_id", own);
            let document = with_id(&document, "rebalance_id", id);
            recording.map_or_else(|| document.clone(), |it| with_id(&document, "recording", it))
        };
        Self {
            header: ids(&self.header, id),
            id,
            recording,
            portfolios: self.portfolios.iter().map(|portfolio| ids(portfolio, ObjectId::new())).collect(),
            model: self.model,
            date: DateTime::from_millis(date.timestamp_millis()),
        }
    }

    fn model_date(&self) -> (Document, Document) {
        (doc! { "_id": self.model }, doc! { "$max": { "last_rebalance_date": self.date } })
    }
}

/// The document with another id in one of its fields, if it has that field.
fn with_id(document: &RawDocumentBuf, field: &str, id: ObjectId) -> RawDocumentBuf {
    let mut bytes = document.as_bytes().to_vec();
    let name = [&[ElementType::ObjectId as u8], field.as_bytes(), &[0]].concat();
    if let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        let begins = at + name.len();
        bytes[begins..begins + id.bytes().len()].copy_from_slice(&id.bytes());
    }
    RawDocumentBuf::from_bytes(bytes).expect("it is as long as before")
}
