//! `modicd schema`: the contract of the MQTT topics.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::contract::documents;

/// Show the JSON Schemas of what is published over MQTT. Without a name: which there are, and on which topics.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document whose schema is shown.
    name: Option<String>,
    /// Show an example of the document instead.
    #[arg(long, requires = "name")]
    example: bool,
    /// Write every schema and example into a folder instead, as {name}.schema.json and {name}.example.json.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let documents = documents();
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        for (name, text) in documents.iter().flat_map(|document| document.files()) {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
    } else if let Some(name) = &args.name {
        let Some(document) = documents.iter().find(|d| d.name == name) else {
            let names: Vec<_> = documents.iter().map(|d| d.name).collect();
            bail!("no document is called {name:?}; there are {}", names.join(", "));
        };
        println!("{:#}", if args.example { &document.example } else { &document.schema });
    } else {
        for document in &documents {
            println!(
                "{:<16}{:<22}{}",
                document.name,
                document.schema_name,
                document.topics.join(", ")
            );
        }
    }
    Ok(super::EXIT_OK)
}
