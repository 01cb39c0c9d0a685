//! `modicd demo`: the whole way on one machine, with nothing to install.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio_util::sync::CancellationToken;

use super::table;
use crate::broker;
use crate::config::Config;
use crate::domain::AeTitle;
use crate::pacs::{Destination, send_files};
use crate::phantom::{Settings, generate, write_dicom};
use crate::receive::regular_files;
use crate::report::{FINDING_FILE, FindingBody};
use crate::service::Service;

/// How long a finding may take before the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Show the whole way on this machine: an MQTT broker, the daemon with its page, and a phantom exam sent to its DICOM
/// port, all in this process. Prints the page's address, the findings as a table and where the results are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End after the finding has been seen by a subscriber; otherwise the daemon goes on until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Which phantom is sent.
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let folder = tempfile::Builder::new().prefix("modicd-demo-").tempdir()?.keep();
    println!("everything is kept in {}", folder.display());
    super::runtime()?.block_on(demonstrate(args, &folder))?;
    Ok(super::EXIT_OK)
}

async fn demonstrate(args: Args, folder: &Path) -> anyhow::Result<()> {
    let broker = broker::start()?;
    println!("MQTT broker on {broker}, topics modic/v1/demo/box/#");
    let mut config = Config::with_state_dir(folder.join("state"));
    config.receive.bind = SocketAddr::from(([127, 0, 0, 1], 0));
    config.page.bind = SocketAddr::from(([127, 0, 0, 1], 0));
    config.worker.quiet_period_s = 2.0;
    // In a temporary folder, which may be small.
    config.storage.min_free_bytes = 0;
    config.mqtt.port = broker.port();
    config.mqtt.site = "demo".to_owned();
    config.mqtt.device = "box".to_owned();
    let latest = config.mqtt.topics()?.latest_finding();
    let ae_title = config.receive.ae_title.clone();
    let service = Service::start(config, None).await?;
    let port = service.dicom_address();
    println!("DICOM port on {port}, AE title {ae_title}");
    println!("page on {}", service.page_address_with_token());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(service.run(shutdown.clone()));

    let finding = tokio::spawn(first_message(broker, latest));
    let exam = folder.join("phantom");
    println!("sending phantom {} ...", args.seed);
    let (to, seed) = (exam.clone(), args.seed);
    tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        write_dicom(&generate(seed, &Settings::default()), seed, &to)?;
        let scanner =
            Destination::dicom("box", port, ae_title, AeTitle::try_from("DEMO".to_owned())?);
        Ok(send_files(&scanner, &regular_files(&to)?)?)
    })
    .await??;
    let payload = tokio::time::timeout(PATIENCE, finding)
        .await
        .context("no finding was seen in time")???;
    let document: serde_json::Value = serde_json::from_slice(&payload)?;
    let body: FindingBody = serde_json::from_value(document.clone())?;
    println!("\na subscriber received:\n{}", table::findings(&body));
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let revision = document["revision"].as_u64().unwrap_or_default();
    let results =
        folder.join("state/results").join(text("study_ref")).join(format!("r{revision:04}"));
    println!("\nfinding document: {}", results.join(FINDING_FILE).display());
    if !args.once {
        println!("the daemon goes on; Ctrl-C ends it");
        tokio::signal::ctrl_c().await?;
    }
    shutdown.cancel();
    running.await??.end().await;
    Ok(())
}

/// Subscribes and gives the first payload on a topic.
async fn first_message(broker: SocketAddr, topic: String) -> anyhow::Result<Vec<u8>> {
    const PACKET: usize = 1 << 20;
    let mut options =
        MqttOptions::new("modicd-demo-subscriber", broker.ip().to_string(), broker.port());
    options.set_max_packet_size(PACKET, PACKET);
    let (client, mut events) = AsyncClient::new(options, 8);
    client.subscribe(topic, QoS::AtLeastOnce).await?;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(message))) => return Ok(message.payload.to_vec()),
            Ok(_) => {}
            Err(error) => bail!("the subscriber lost the broker: {error}"),
        }
    }
}
