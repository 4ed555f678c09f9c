//! Two commands of MongoDB's wire protocol, and as much of its BSON as they need.
//!
//! A driver would make this program as large as the service, and mongosh is not in the package.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};

const OP_MSG: i32 = 2013;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of a whole message, as servers announce it.
const MAX_MESSAGE_SIZE: i32 = 48_000_000;

enum Value {
    Int(i32),
    Text(String),
    Document(Vec<(&'static str, Value)>),
    Array(Vec<(&'static str, Value)>),
}

/// Makes the server on `port` a replica set of one, named `rs0`; `true` if it was one already.
pub(super) fn replica_set_is_initiated(port: u16) -> Result<bool> {
    let member =
        Value::Document(vec![("_id", Value::Int(0)), ("host", Value::Text(format!("127.0.0.1:{port}")))]);
    let config = Value::Document(vec![
        ("_id", Value::Text("rs0".to_owned())),
        ("members", Value::Array(vec![("0", member)])),
    ]);
    let reply = run(port, ("replSetInitiate", config))?;
    let already = element(&Value::Text("AlreadyInitialized".to_owned()), "codeName");
    Ok(contains(&reply, &ok()) || contains(&reply, &already))
}

/// Whether the server on `port` takes writes.
pub(super) fn is_writable(port: u16) -> Result<bool> {
    let reply = run(port, ("hello", Value::Int(1)))?;
    Ok(contains(&reply, b"\x08isWritablePrimary\0\x01"))
}

/// Sends a command to the database `admin`; the reply is BSON.
fn run(port: u16, command: (&'static str, Value)) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&message(&document(&[command, ("$db", Value::Text("admin".to_owned()))])))?;

    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = i32::from_le_bytes(length);
    ensure!((4..MAX_MESSAGE_SIZE).contains(&length), "no MongoDB answers on port {port}");
    let mut reply = vec![0; usize::try_from(length)? - 4];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// Length, request id, whose answer it is, kind, flags; then one section of kind 0: the body.
fn message(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    for number in [length(5 * 4 + 1 + body.len()), 1, 0, OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(body);
    message
}

fn document(elements: &[(&'static str, Value)]) -> Vec<u8> {
    let inside: Vec<u8> = elements.iter().flat_map(|(name, value)| element(value, name)).collect();
    let mut document = length(4 + inside.len() + 1).to_le_bytes().to_vec();
    document.extend(inside);
    document.push(0);
    document
}

fn element(value: &Value, name: &str) -> Vec<u8> {
    let (kind, bytes) = match value {
        Value::Text(text) => {
            let mut bytes = length(text.len() + 1).to_le_bytes().to_vec();
            bytes.extend(text.bytes().chain([0]));
            (0x02, bytes)
        }
        Value::Document(elements) => (0x03, document(elements)),
        Value::Array(elements) => (0x04, document(elements)),
        Value::Int(number) => (0x10, number.to_le_bytes().to_vec()),
    };
    [&[kind], name.as_bytes(), &[0], &bytes].concat()
}

/// The element `ok: 1.0` of every successful reply.
fn ok() -> Vec<u8> {
    [b"\x01ok\0".as_slice(), &1_f64.to_le_bytes()].concat()
}

fn contains(reply: &[u8], element: &[u8]) -> bool {
    reply.windows(element.len()).any(|window| window == element)
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("these commands are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_as_the_bson_specification_says() {
        let hello = [("hello", Value::Text("world".to_owned()))];
        assert_eq!(document(&hello), b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0");

        let array = [("a", Value::Array(vec![("0", Value::Int(1))]))];
        assert_eq!(document(&array), b"\x14\0\0\0\x04a\0\x0c\0\0\0\x100\0\x01\0\0\0\0\0");
    }

    #[test]
    fn a_message_says_how_long_it_is() {
        let message = message(b"body");

        assert_eq!(message.len(), 25);
        assert_eq!(message[..4], 25_i32.to_le_bytes());
        assert_eq!(message[12..16], [0xdd, 0x07, 0, 0]);
    }
}
