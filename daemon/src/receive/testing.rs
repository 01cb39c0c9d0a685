//! For the tests of this stage: sample instances, a sink that remembers, and a service class user that can
//! misbehave.

use super::sink::{CommitmentSink, InstanceSink, SinkError};
use super::spool::{InstanceStore, StoredInstance};
use super::{RefusedInstances, Server};
use crate::audit::Auditor;
use crate::metrics::Counts;
use crate::receive::{CommitmentReport, Config};
use dicom_ul::pdu::{
    AssociationRQ, PDataValue, PDataValueType, Pdu, PresentationContextProposed, UserVariableItem,
    read_pdu, write_pdu,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(super) const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
pub(super) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(super) const VERIFICATION: &str = "1.2.840.10008.1.1";
pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// No test waits longer than this for a peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Appends an element: tag, VR, value.
type PutElement = dyn Fn(&mut Vec<u8>, (u16, u16), &str, &[u8]);

/// A minimal MR instance with a sequence in it.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) sop_class_uid: String,
    pub(super) sop_instance_uid: String,
    pub(super) study_instance_uid: String,
    pub(super) series_instance_uid: String,
    pub(super) pixels: Vec<u8>,
}

impl Default for Sample {
    fn default() -> Self {
        Sample {
            sop_class_uid: MR.to_owned(),
            sop_instance_uid: "1.2.3.4".to_owned(),
            study_instance_uid: "1.2.3".to_owned(),
            series_instance_uid: "1.2.3.1".to_owned(),
            pixels: vec![7; 2048],
        }
    }
}

impl Sample {
    pub(super) fn numbered(n: usize) -> Sample {
        Sample { sop_instance_uid: format!("1.2.3.4.{n}"), ..Sample::default() }
    }

    /// The data set in Explicit VR Little Endian.
    pub(super) fn explicit(&self) -> Vec<u8> {
        self.encode(&|set, (group, element), vr, value| {
            set.extend(u16::to_le_bytes(group));
            set.extend(u16::to_le_bytes(element));
            set.extend(vr.as_bytes());
            if matches!(vr, "OW" | "SQ") {
                set.extend([0, 0]);
                set.extend((value.len() as u32).to_le_bytes());
            } else {
                set.extend((value.len() as u16).to_le_bytes());
            }
            set.extend(value);
        })
    }

    /// The data set in Implicit VR Little Endian.
    pub(super) fn implicit(&self) -> Vec<u8> {
        self.encode(&|set, (group, element), _, value| {
            set.extend(u16::to_le_bytes(group));
            set.extend(u16::to_le_bytes(element));
            set.extend((value.len() as u32).to_le_bytes());
            set.extend(value);
        })
    }

    fn encode(&self, put: &PutElement) -> Vec<u8> {
        let mut set = Vec::new();
        put(&mut set, (0x0008, 0x0016), "UI", &even(&self.sop_class_uid));
        put(&mut set, (0x0008, 0x0018), "UI", &even(&self.sop_instance_uid));
        let mut content = Vec::new();
        put(&mut content, (0x0008, 0x1150), "UI", &even(MR));
        put(&mut content, (0x0008, 0x1155), "UI", &even("9.9.9"));
        let mut item = vec![0xfe, 0xff, 0x00, 0xe0];
        item.extend((content.len() as u32).to_le_bytes());
        item.extend(content);
        put(&mut set, (0x0008, 0x1140), "SQ", &item);
        put(&mut set, (0x0020, 0x000d), "UI", &even(&self.study_instance_uid));
        put(&mut set, (0x0020, 0x000e), "UI", &even(&self.series_instance_uid));
        put(&mut set, (0x7fe0, 0x0010), "OW", &self.pixels);
        set
    }
}

fn even(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(0);
    }
    value
}

/// A request's command set.
pub(super) fn command_set(
    field: u16,
    message_id: u16,
    sop_class: &str,
    sop_instance: Option<&str>,
    has_data_set: bool,
) -> Vec<u8> {
    let mut set = Vec::new();
    let mut put = |element: u16, value: &[u8]| {
        set.extend([0, 0]);
        set.extend(element.to_le_bytes());
        set.extend((value.len() as u32).to_le_bytes());
        set.extend(value);
    };
    put(0x0002, &even(sop_class));
    put(0x0100, &field.to_le_bytes());
    put(0x0110, &message_id.to_le_bytes());
    put(0x0800, &u16::to_le_bytes(if has_data_set { 1 } else { 0x0101 }));
    if let Some(uid) = sop_instance {
        put(0x1000, &even(uid));
    }
    set
}

/// A store in a folder of its own, with 1 MiB as the largest object.
pub(super) fn scratch_store() -> (TempDir, Arc<InstanceStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = InstanceStore::open(dir.path(), b"site key", 1 << 20).unwrap();
    (dir, Arc::new(store))
}

/// Remembers what it was told, and fails when asked to.
#[derive(Default)]
pub(super) struct RecordingSink {
    pub(super) stored: Mutex<Vec<StoredInstance>>,
    pub(super) refused: Mutex<Vec<RefusedInstances>>,
    pub(super) fails: AtomicBool,
    pub(super) reports: Mutex<Vec<CommitmentReport>>,
}

impl InstanceSink for RecordingSink {
    fn stored(&self, instance: &StoredInstance) -> Result<(), SinkError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(SinkError("the test wants it so".into()));
        }
        self.stored.lock().unwrap().push(instance.clone());
        Ok(())
    }

    fn refused(&self, refused: &RefusedInstances) {
        self.refused.lock().unwrap().push(refused.clone());
    }
}

impl CommitmentSink for RecordingSink {
    fn report(&self, report: &CommitmentReport) -> Result<(), SinkError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(SinkError("the test wants it so".into()));
        }
        self.reports.lock().unwrap().push(report.clone());
        Ok(())
    }
}

/// A running server on a free port.
pub(super) struct TestServer {
    pub(super) dir: TempDir,
    pub(super) store: Arc<InstanceStore>,
    pub(super) sink: Arc<RecordingSink>,
    pub(super) counts: Counts,
    pub(super) address: SocketAddr,
    pub(super) shutdown: CancellationToken,
    pub(super) running: JoinHandle<()>,
}

impl TestServer {
    pub(super) async fn start(change: impl FnOnce(&mut Config)) -> TestServer {
        let mut config = Config { bind: ([127, 0, 0, 1], 0).into(), ..Config::default() };
        change(&mut config);
        let (dir, store) = scratch_store();
        let sink = Arc::new(RecordingSink::default());
        let counts = Counts::default();
        let server = Server::bind(
            config,
            store.clone(),
            sink.clone(),
            Some(sink.clone()),
            counts.clone(),
            Auditor::default(),
            None,
        )
        .await
        .unwrap();
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        TestServer { dir, store, sink, counts, address, shutdown, running }
    }

    /// Number of instances that stand in study folders.
    pub(super) fn visible(&self) -> usize {
        self.store.list().unwrap().values().map(Vec::len).sum()
    }

    /// Number of files in `.incoming`.
    pub(super) fn incoming(&self) -> usize {
        std::fs::read_dir(self.dir.path().join(".incoming")).unwrap().count()
    }
}

/// The association request of a well-behaved peer; context ids are 1, 3, 5, …
pub(super) fn request(contexts: &[(&str, &[&str])]) -> AssociationRQ {
    let contexts = contexts.iter().zip((1..).step_by(2));
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "TESTER".to_owned(),
        called_ae_title: "MODICD".to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: contexts
            .map(|((abstract_syntax, transfer_syntaxes), id)| PresentationContextProposed {
                id,
                abstract_syntax: (*abstract_syntax).to_owned(),
                transfer_syntaxes: transfer_syntaxes.iter().map(|&ts| ts.to_owned()).collect(),
            })
            .collect(),
        user_variables: vec![
            UserVariableItem::MaxLength(16_384),
            UserVariableItem::ImplementationClassUID("1.2.3.4.5".to_owned()),
        ],
    }
}

/// A service class user that does as it is told, right or wrong.
pub(super) struct Scu {
    pub(super) stream: TcpStream,
    message_id: u16,
}

impl Scu {
    pub(super) async fn connect(server: &TestServer) -> Scu {
        Scu { stream: TcpStream::connect(server.address).await.unwrap(), message_id: 0 }
    }

    /// Connects and associates, for echo (context 1) and MR in explicit (3) and implicit encoding (5).
    pub(super) async fn associate(server: &TestServer) -> Scu {
        let mut scu = Scu::connect(server).await;
        let contexts: [(&str, &[&str]); 3] =
            [(VERIFICATION, &[IMPLICIT]), (MR, &[EXPLICIT]), (MR, &[IMPLICIT])];
        scu.send(&request(&contexts).into()).await;
        assert!(matches!(scu.receive().await, Some(Pdu::AssociationAC(_))));
        scu
    }

    pub(super) async fn send(&mut self, pdu: &Pdu) {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next PDU; `None` when the server closed the connection.
    pub(super) async fn receive(&mut self) -> Option<Pdu> {
        let mut bytes = vec![0; 6];
        let reading = async {
            self.stream.read_exact(&mut bytes).await.ok()?;
            let length = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
            bytes.resize(6 + length as usize, 0);
            self.stream.read_exact(&mut bytes[6..]).await.ok()?;
            read_pdu(&bytes[..], 1 << 20, true).unwrap()
        };
        timeout(PATIENCE, reading).await.expect("the server answers in time")
    }

    /// The status of the next response.
    pub(super) async fn status(&mut self) -> u16 {
        let Some(Pdu::PData { data }) = self.receive().await else { panic!("no response came") };
        let set = &data[0].data;
        let at = set.windows(8).position(|w| w == [0, 0, 0, 9, 2, 0, 0, 0]).unwrap() + 8;
        u16::from_le_bytes([set[at], set[at + 1]])
    }

    pub(super) fn value(
        context: u8,
        value_type: PDataValueType,
        is_last: bool,
        data: &[u8],
    ) -> PDataValue {
        PDataValue { presentation_context_id: context, value_type, is_last, data: data.to_vec() }
    }

    /// The values of a C-STORE request, the data set in fragments of `fragment` bytes.
    pub(super) fn store_values(
        &mut self,
        context: u8,
        sop_instance_uid: &str,
        data_set: &[u8],
        fragment: usize,
    ) -> Vec<PDataValue> {
        self.message_id += 1;
        let set = command_set(0x0001, self.message_id, MR, Some(sop_instance_uid), true);
        let mut values = vec![Self::value(context, PDataValueType::Command, true, &set)];
        let count = data_set.len().div_ceil(fragment);
        for (n, piece) in data_set.chunks(fragment).enumerate() {
            values.push(Self::value(context, PDataValueType::Data, n + 1 == count, piece));
        }
        values
    }

    /// Sends an instance, a PDU for each 10 000 bytes, and returns the response's status.
    pub(super) async fn store(&mut self, context: u8, uid: &str, data_set: &[u8]) -> u16 {
        for value in self.store_values(context, uid, data_set, 10_000) {
            self.send(&Pdu::PData { data: vec![value] }).await;
        }
        self.status().await
    }

    pub(super) async fn echo(&mut self) -> u16 {
        let set = command_set(0x0030, 1, VERIFICATION, None, false);
        let value = Self::value(1, PDataValueType::Command, true, &set);
        self.send(&Pdu::PData { data: vec![value] }).await;
        self.status().await
    }

    pub(super) async fn release(mut self) {
        self.send(&Pdu::ReleaseRQ).await;
        assert_eq!(self.receive().await, Some(Pdu::ReleaseRP));
    }
}
