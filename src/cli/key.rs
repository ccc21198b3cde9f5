//! `plaza key`, and the operator's own key, for commands that speak in its name. In: a file to be made; or a secret key from
//! a file or standard input, never from arguments, which other people of the machine can read. Out: signed events.

use std::path::{Path, PathBuf};

use clap::Args;

use secp256k1::Keypair;

use super::Failure;
use crate::clock::Clock;
use crate::community::own_key;
use crate::event::{self, Kind, Tags, Verified, secret_key};

#[derive(Debug, Args)]
pub(super) struct Key {
    /// The file to be made, with the secret key as 64 hexadecimal digits; nobody else can read it
    file: PathBuf,
}

impl Key {
    /// Makes a key. Its public half goes to standard output, as settings take it and as people write it.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let file = std::path::absolute(&self.file)?;
        if file.exists() {
            return Err(format!("{} is there already, and no key is written over", file.display()).into());
        }
        let made = own_key::make(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("{}\n{}", made.key(), event::npub(made.key()));
        Ok(())
    }
}

/// The keys that a file's secret key makes.
pub(super) fn keypair(file: &Path) -> Result<Keypair, Failure> {
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin())?,
        false => std::fs::read_to_string(file)
            .map_err(|error| format!("--key: cannot read {}: {error}", file.display()))?,
    };
    // What it holds is repeated in no message.
    let wrong = "--key: the file holds one secret key, as nsec1… or 64 hexadecimal digits, and nothing else";
    Ok(secret_key(&text).ok_or(wrong)?)
}

/// An event of now.
pub(super) fn sign(keypair: &Keypair, kind: Kind, tags: Tags, content: String) -> Result<Verified, Failure> {
    let event = event::sign(keypair, Clock::system().now(), kind, tags, content);
    Verified::check(event, &mut Vec::new()).map_err(|_| "the event could not be signed".into())
}
