//! The stores of the floor: what the service has written, with other ids, by the bare driver.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, RawDocument, RawDocumentBuf};

use super::sqlite::Sqlite;
use super::{Content, Position, StoreSettings};
use crate::store::bare::{Bare, Recorded};

pub(super) enum Store {
    Sqlite(Sqlite),
    Mongodb(Mongodb),
}

impl Store {
    pub(super) async fn open(settings: StoreSettings) -> Result<Self> {
        Ok(match settings {
            StoreSettings::Sqlite { path, like } => Self::Sqlite(Sqlite::open(&path, &like).await?),
            StoreSettings::Mongodb { url, database, like } => {
                Self::Mongodb(Mongodb::open(&url, &database, &like).await?)
            }
        })
    }

    pub(super) async fn insert_model(&self, id: ObjectId, model: &Content) -> Result<()> {
        match self {
            Self::Sqlite(store) => store.insert_model(&id.to_hex(), model).await,
            Self::Mongodb(store) => store.insert_model(id, model).await,
        }
    }

    pub(super) async fn model(&self, id: &str) -> Result<Content> {
        match self {
            Self::Sqlite(store) => store.model(id).await,
            Self::Mongodb(store) => {
                content(&store.bare.find("models", id.parse()?).await?.context("no such model")?)
            }
        }
    }

    pub(super) async fn record(&self, id: ObjectId, model: &str) -> Result<()> {
        match self {
            Self::Sqlite(store) => store.record(&id.to_hex(), model).await,
            Self::Mongodb(store) => store.record(id, model.parse()?).await,
        }
    }

    /// The model it is of.
    pub(super) async fn read_record(&self, id: &str) -> Result<String> {
        match self {
            Self::Sqlite(store) => store.read_record(id).await,
            Self::Mongodb(store) => {
                let found = store.bare.find("rebalances", id.parse()?).await?.context("no such rebalance")?;
                Ok(found.get_object_id("model_id")?.to_hex())
            }
        }
    }
}

pub(super) struct Mongodb {
    bare: Bare,
    model: Stencil,
    record: Stencil,
}

impl Mongodb {
    async fn open(url: &str, database: &str, like: &str) -> Result<Self> {
        let service = Bare::connect(url, like).await?;
        let model = service.any("models").await?;
        let record = service.any("rebalances").await?;
        ensure!(record.get("portfolios")?.is_some(), "the floor writes records of one document alone");
        let Content { name, positions, portfolios } = content(&model)?;
        let id = model.get_object_id("_id")?.bytes();
        let words = words(&name, &portfolios, &positions);
        let words = [id.as_slice()].into_iter().chain(words).collect::<Vec<_>>();
        let ids = [record.get_object_id("_id")?.bytes(), id];
        Ok(Self {
            bare: Bare::connect(url, database).await?,
            model: Stencil::new(model.as_bytes(), &words)?,
            record: Stencil::new(record.as_bytes(), &[&ids[0], &ids[1]])?,
        })
    }

    async fn insert_model(&self, id: ObjectId, model: &Content) -> Result<()> {
        let id = id.bytes();
        let words = words(&model.name, &model.portfolios, &model.positions);
        let words = [id.as_slice()].into_iter().chain(words).collect::<Vec<_>>();
        self.bare.insert_model(&RawDocumentBuf::from_bytes(self.model.with(&words)?)?).await
    }

    async fn record(&self, id: ObjectId, model: ObjectId) -> Result<()> {
        let header = RawDocumentBuf::from_bytes(self.record.with(&[&id.bytes(), &model.bytes()])?)?;
        let date = DateTime::from_millis(now()?);
        self.bare.record(&Recorded { header, id, recording: None, portfolios: Vec::new(), model, date }).await
    }
}

fn content(model: &RawDocument) -> Result<Content> {
    let mut content = Content { name: model.get_str("name")?.to_owned(), ..Content::default() };
    for portfolio in model.get_array("portfolios")? {
        content.portfolios.push(portfolio?.as_str().context("no id of a portfolio")?.to_owned());
    }
    for position in model.get_array("positions")? {
        let position = position?.as_document().context("no position")?;
        content.positions.push(Position { security_id: position.get_str("security_id")?.to_owned() });
    }
    Ok(content)
}

/// What differs between two models of as many portfolios and positions.
fn words<'a>(
    name: &'a str,
    portfolios: &'a [String],
    positions: &'a [Position],
) -> impl Iterator<Item = &'a [u8]> {
    let portfolios = portfolios.iter().map(String::as_bytes);
    let securities = positions.iter().map(|position| position.security_id.as_bytes());
    [name.as_bytes()].into_iter().chain(portfolios).chain(securities)
}

pub(super) fn now() -> Result<i64> {
    #[expect(clippy::disallowed_methods, reason = "the floor has no ports")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}

/// Bytes, in which words can be replaced by others of the same length.
pub(super) struct Stencil {
    bytes: Vec<u8>,
    /// Where each word stands.
    places: Vec<Vec<std::ops::Range<usize>>>,
}

impl Stencil {
    pub(super) fn new(bytes: &[u8], words: &[&[u8]]) -> Result<Self> {
        let places = words.iter().map(|word| {
            let found = bytes.windows(word.len()).enumerate().filter(|(_, window)| window == word);
            found.map(|(at, _)| at..at + word.len()).collect::<Vec<_>>()
        });
        let places: Vec<_> = places.collect();
        ensure!(places.iter().all(|places| !places.is_empty()), "a word of the pattern is not in it");
        Ok(Self { bytes: bytes.to_owned(), places })
    }

    pub(super) fn with(&self, words: &[&[u8]]) -> Result<Vec<u8>> {
        ensure!(words.len() == self.places.len(), "there are more words or fewer than in the pattern");
        let mut bytes = self.bytes.clone();
        for (word, places) in words.iter().zip(&self.places) {
            for place in places {
                ensure!(word.len() == place.len(), "a word is longer or shorter than in the pattern");
                bytes[place.clone()].copy_from_slice(word);
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_wherever_they_stand() {
        let stencil = Stencil::new(b"ab-cd-ab", &[b"ab", b"cd"]).unwrap();

        assert_eq!(stencil.with(&[b"12", b"34"]).unwrap(), b"12-34-12");
        assert!(stencil.with(&[b"123", b"34"]).is_err());
        assert!(stencil.with(&[b"12"]).is_err());
        assert!(Stencil::new(b"ab", &[b"cd"]).is_err());
    }
}
