//! One association, from its request to its end.

use super::access;
use super::arrivals::{Arrivals, Tally};
use super::command::{Command, Operation, Status};
use super::commitment::{CommitmentReport, MAX_REPORT_BYTES};
use super::config::Config;
use super::limits::Place;
use super::message::{Assembler, Event, InvalidMessage};
use super::negotiation::{self, Agreement, Service, negotiate};
use super::refusal::{Origin, Reason, Refusal, RefusedInstances};
use super::rejection::Rejection;
use super::sink::CommitmentSink;
use super::sop::TransferSyntax;
use super::spool::Claim;
use super::transport::{PduStream, TLS_HANDSHAKE, TransportError, abort};
use super::upload::{Destination, Upload};
use crate::audit::{Auditor, Event as AuditEvent};
use crate::domain::AeTitle;
use crate::metrics::Counts;
use dicom_ul::pdu::{AbortRQServiceProviderReason, AssociationRQ, PDataValue, PDataValueType, Pdu};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// What all associations share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) destination: Destination,
    /// Where reports on storage commitment go, if any are awaited.
    pub(super) commitments: Option<Arc<dyn CommitmentSink>>,
    /// One permit per association; taken when its request is known, so that silent connections hold none.
    pub(super) associations: Semaphore,
    pub(super) counts: Counts,
    pub(super) auditor: Auditor,
}

/// How an association ended, other than by release.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    #[error("the peer used a presentation context that was not accepted")]
    UnknownContext,
    #[error("the peer sent a response, and nothing had been asked of it")]
    UnexpectedResponse,
    #[error("the peer aborted")]
    AbortedByPeer,
    #[error("the peer was silent for too long")]
    Silent,
    #[error("the association lasted too long")]
    TooLong,
    #[error("the daemon stops")]
    Stopping,
}

impl Ended {
    /// The A-ABORT due to the peer, if any.
    fn last_pdu(&self) -> Option<Pdu> {
        use AbortRQServiceProviderReason as Reason;
        match self {
            Ended::Transport(error) => error.abort(),
            Ended::AbortedByPeer => None,
            Ended::Message(_) => Some(abort(Reason::InvalidPduParameter)),
            Ended::UnknownContext => Some(abort(Reason::UnexpectedPduParameter)),
            Ended::UnexpectedResponse | Ended::Silent | Ended::TooLong | Ended::Stopping => {
                Some(abort(Reason::ReasonNotSpecified))
            }
        }
    }
}

/// Serves a connection to its end. `stop` aborts the association.
pub(super) async fn run(
    socket: TcpStream,
    peer: IpAddr,
    mut place: Place,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let deadline = Instant::now() + shared.config.request_timeout();
    let opened = tokio::select! {
        opened = timeout_at(deadline, open(socket, shared.tls.as_ref())) => opened,
        () = stop.cancelled() => return,
    };
    let (mut stream, names) = match opened.unwrap_or_else(|late| Err(late.into())) {
        Ok(opened) => opened,
        Err(error) => return turned_away(&shared, peer, Rejection::TlsHandshake, &error),
    };
    let request = tokio::select! {
        request = timeout_at(deadline, read_request(&mut stream)) => {
            request.unwrap_or(Err(Ended::Silent))
        }
        () = stop.cancelled() => Err(Ended::Stopping),
    };
    let request = match request {
        Ok(request) => request,
        Err(why) => {
            match why {
                Ended::Transport(TransportError::Tls) => {
                    warn!(%peer, %why, "A connection was closed.")
                }
                _ => debug!(%peer, %why, "A connection ended without an association request."),
            }
            return stream.finish(why.last_pdu()).await;
        }
    };
    let calling_ae = negotiation::calling_ae(&request);
    let calling = calling_ae.as_ref().map_or("", AeTitle::as_str);
    let agreed = if shared.tls.is_some() && !stream.is_encrypted() {
        Err(Rejection::PlainText)
    } else {
        let caller = Caller { address: peer, calling_ae: calling_ae.as_ref(), names: &names };
        agree(&request, &caller, &mut place, &shared)
    };
    let (agreement, _permit) = match agreed {
        Ok(agreed) => agreed,
        Err(rejection) => {
            let reason = rejection.code();
            warn!(%peer, calling_ae = calling, reason, "An association was rejected.");
            rejected(&shared, peer, calling_ae, reason);
            return stream.finish(Some(rejection.answer().into())).await;
        }
    };
    let _active = shared.counts.association_accepted();
    let contexts = agreement.contexts.len();
    debug!(%peer, calling_ae = calling, contexts, "An association was accepted.");

    let started = Instant::now();
    let mut session = Session::new(stream, &shared, agreement.contexts, agreement.peer_max_pdu);
    let ended = tokio::select! {
        ended = session.serve(agreement.answer.into()) => ended,
        () = sleep(shared.config.association_timeout()) => Err(Ended::TooLong),
        () = stop.cancelled() => Err(Ended::Stopping),
    };
    let Session { stream, received, refused: refused_by_reason, .. } = session;
    let refused = refused_by_reason.values().sum::<u64>();
    let Arrivals { new, replaced, unchanged } = received.sum();
    let elapsed_s = started.elapsed().as_secs_f32();
    match &ended {
        Ok(()) => info!(
            %peer, calling_ae = calling, new, replaced, unchanged, refused, elapsed_s,
            "An association was released."
        ),
        Err(why) => warn!(
            %peer, calling_ae = calling, new, replaced, unchanged, refused, elapsed_s, %why,
            "An association broke off."
        ),
    }
    let origin = Origin::Association { peer, calling_ae };
    received.audit(&origin, &shared.auditor);
    report_refused(&shared, origin, refused_by_reason).await;
    let last = match ended {
        Ok(()) => Some(Pdu::ReleaseRP),
        Err(why) => why.last_pdu(),
    };
    stream.finish(last).await;
}

/// Who asks for an association, as far as it is known.
struct Caller<'a> {
    address: IpAddr,
    calling_ae: Option<&'a AeTitle>,
    /// Those in its certificate.
    names: &'a [String],
}

/// Answers a request by all rules and limits; the permit is the association's place.
fn agree<'a>(
    request: &AssociationRQ,
    caller: &Caller<'_>,
    place: &mut Place,
    shared: &'a Shared,
) -> Result<(Agreement, SemaphorePermit<'a>), Rejection> {
    let agreement = negotiate(request, &shared.config, shared.commitments.is_some())?;
    let peers = &shared.config.peers;
    access::admit(peers, caller.calling_ae, caller.address, caller.names)?;
    place.associate(Instant::now())?;
    let permit = shared.associations.try_acquire().map_err(|_| Rejection::Full)?;
    Ok((agreement, permit))
}

/// A connection that was turned away before an association was asked for.
pub(super) fn turned_away(shared: &Shared, peer: IpAddr, rejection: Rejection, why: &dyn Display) {
    let reason = rejection.code();
    warn!(%peer, reason, %why, "A connection was turned away.");
    rejected(shared, peer, None, reason);
}

fn rejected(shared: &Shared, peer: IpAddr, calling_ae: Option<AeTitle>, reason: &'static str) {
    shared.counts.association_rejected(reason);
    shared.auditor.note(&AuditEvent::TurnedAway { peer, calling_ae, reason });
}

/// Makes a connection ready for PDUs: shakes hands where there is TLS, and tells the names in the peer's certificate. Who
/// brings plain text to it is read too, to be told that it is not taken.
async fn open(
    socket: TcpStream,
    tls: Option<&TlsAcceptor>,
) -> io::Result<(PduStream, Vec<String>)> {
    let Some(tls) = tls else { return Ok((PduStream::new(Either::Left(socket)), Vec::new())) };
    let mut first = [0];
    socket.peek(&mut first).await?;
    if first != [TLS_HANDSHAKE] {
        return Ok((PduStream::new(Either::Left(socket)), Vec::new()));
    }
    let stream = tls.accept(socket).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let names = certificates.first().map(|own| access::names_of(own)).unwrap_or_default();
    Ok((PduStream::new(Either::Right(Box::new(stream))), names))
}

async fn read_request(stream: &mut PduStream) -> Result<AssociationRQ, Ended> {
    match stream.read_request().await? {
        Pdu::AssociationRQ(request) => Ok(request),
        _ => Err(Ended::AbortedByPeer),
    }
}

async fn report_refused(shared: &Shared, origin: Origin, counts: BTreeMap<Reason, u64>) {
    if counts.is_empty() {
        return;
    }
    let sink = Arc::clone(&shared.destination.sink);
    let refused = RefusedInstances { origin, counts };
    let reported = tokio::task::spawn_blocking(move || sink.refused(&refused)).await;
    if reported.is_err() {
        warn!("The refused instances could not be reported.");
    }
}

/// A request whose data set is being received.
enum Receiving {
    /// To be stored.
    Instance(Command, Box<Upload>),
    /// A report on storage commitment, as far as it came.
    Report(Command, TransferSyntax, Vec<u8>),
    /// To be discarded, then answered so.
    Discarded(Command, Answer),
}

#[derive(Clone, Copy)]
enum Answer {
    Status(Status),
    Refused(Reason),
}

/// What a command leads to.
enum Plan {
    Store(Claim),
    Report(TransferSyntax),
    Answer(Answer),
    Ignore,
    Abort,
}

fn plan(command: &Command, service: &Service) -> Plan {
    match (command.operation(), service) {
        (Operation::Echo, Service::Verification) => Plan::Answer(Answer::Status(Status::SUCCESS)),
        (Operation::EventReport, &Service::StorageCommitment(syntax)) => {
            if command.has_data_set {
                Plan::Report(syntax)
            } else {
                Plan::Answer(Answer::Status(Status::INVALID_ARGUMENT_VALUE))
            }
        }
        (Operation::Echo, _) => Plan::Answer(Answer::Status(Status::SOP_CLASS_NOT_SUPPORTED)),
        (Operation::Store, Service::Verification | Service::StorageCommitment(_)) => {
            Plan::Answer(Answer::Refused(Reason::SopClassNotSupported))
        }
        (Operation::Store, &Service::Storage(transfer_syntax)) => {
            match (command.sop_class_uid.clone(), command.sop_instance_uid.clone()) {
                (Some(sop_class_uid), Some(sop_instance_uid)) if command.has_data_set => {
                    Plan::Store(Claim { transfer_syntax, sop_class_uid, sop_instance_uid })
                }
                _ => Plan::Answer(Answer::Refused(Reason::InvalidCommand)),
            }
        }
        // of a request that has been answered already
        (Operation::Cancel, _) if !command.has_data_set => Plan::Ignore,
        (Operation::Response, _) => Plan::Abort,
        (Operation::Cancel | Operation::EventReport | Operation::Other, _) => {
            Plan::Answer(Answer::Status(Status::UNRECOGNIZED_OPERATION))
        }
    }
}

struct Session<'a> {
    stream: PduStream,
    shared: &'a Shared,
    contexts: HashMap<u8, Service>,
    peer_max_pdu: u32,
    assembler: Assembler,
    /// The request of the current message, with the context it came on.
    receiving: Option<(u8, Receiving)>,
    received: Tally,
    refused: BTreeMap<Reason, u64>,
}

impl<'a> Session<'a> {
    fn new(
        stream: PduStream,
        shared: &'a Shared,
        contexts: HashMap<u8, Service>,
        peer_max_pdu: u32,
    ) -> Session<'a> {
        Session {
            stream,
            shared,
            contexts,
            peer_max_pdu,
            assembler: Assembler::default(),
            receiving: None,
            received: Tally::default(),
            refused: BTreeMap::new(),
        }
    }

    /// Serves the association until the peer asks for its release.
    async fn serve(&mut self, answer: Pdu) -> Result<(), Ended> {
        self.write(&answer).await?;
        let idle = self.shared.config.idle_timeout();
        let max_pdu = self.shared.config.max_pdu_bytes;
        loop {
            let pdu = timeout(idle, self.stream.read_pdu(max_pdu)).await;
            match pdu.map_err(|_| Ended::Silent)?? {
                Pdu::PData { data } => {
                    for value in data {
                        self.take(value).await?;
                    }
                }
                Pdu::ReleaseRQ => return Ok(()),
                Pdu::AbortRQ { .. } => return Err(Ended::AbortedByPeer),
                // a release was never asked for
                _ => return Err(TransportError::UnexpectedType(6).into()),
            }
        }
    }

    async fn take(&mut self, value: PDataValue) -> Result<(), Ended> {
        match self.assembler.push(value)? {
            None => Ok(()),
            Some(Event::Command { context_id, command }) => self.begin(context_id, command).await,
            Some(Event::DataSet { fragment, last }) => {
                let (context_id, mut receiving) =
                    self.receiving.take().expect("a data set follows a command that announced it");
                match &mut receiving {
                    Receiving::Instance(_, upload) => upload.push(&fragment).await,
                    // One byte too many is kept, to be noticed at the end.
                    Receiving::Report(_, _, bytes) => {
                        let room = MAX_REPORT_BYTES + 1 - bytes.len();
                        bytes.extend(&fragment[..fragment.len().min(room)]);
                    }
                    Receiving::Discarded(..) => {}
                }
                if last {
                    self.complete(context_id, receiving).await
                } else {
                    self.receiving = Some((context_id, receiving));
                    Ok(())
                }
            }
        }
    }

    /// A command is whole: answers it, or waits for its data set.
    async fn begin(&mut self, context_id: u8, command: Command) -> Result<(), Ended> {
        let service = self.contexts.get(&context_id).ok_or(Ended::UnknownContext)?;
        let has_data_set = command.has_data_set;
        let receiving = match plan(&command, service) {
            Plan::Ignore => return Ok(()),
            Plan::Abort => return Err(Ended::UnexpectedResponse),
            Plan::Answer(answer) => Receiving::Discarded(command, answer),
            Plan::Report(syntax) => Receiving::Report(command, syntax, Vec::new()),
            Plan::Store(claim) => {
                let upload = Upload::new(self.shared.destination.clone(), claim);
                Receiving::Instance(command, Box::new(upload))
            }
        };
        if has_data_set {
            self.receiving = Some((context_id, receiving));
            Ok(())
        } else {
            self.complete(context_id, receiving).await
        }
    }

    /// A message is whole: carries it out and answers.
    async fn complete(&mut self, context_id: u8, receiving: Receiving) -> Result<(), Ended> {
        let (command, answer) = match receiving {
            Receiving::Discarded(command, answer) => (command, answer),
            Receiving::Report(command, syntax, bytes) => {
                let status = self.report(&bytes, syntax).await;
                (command, Answer::Status(status))
            }
            Receiving::Instance(command, upload) => match upload.finish().await {
                Ok(stored) => {
                    let study_ref = &stored.study_ref;
                    debug!(%study_ref, change = ?stored.change, "An instance was stored.");
                    self.received.count(&stored);
                    (command, Answer::Status(Status::SUCCESS))
                }
                Err(refusal) => {
                    log_failure(&refusal);
                    (command, Answer::Refused(refusal.reason))
                }
            },
        };
        let response = match answer {
            Answer::Status(status) => command.response(status, None),
            Answer::Refused(reason) => {
                *self.refused.entry(reason).or_default() += 1;
                command.response(reason.status(), Some(reason.code()))
            }
        };
        self.respond(context_id, &response).await
    }

    /// Hands a report on storage commitment on.
    async fn report(&self, bytes: &[u8], syntax: TransferSyntax) -> Status {
        let (Ok(report), Some(sink), true) = (
            CommitmentReport::parse(bytes, syntax),
            self.shared.commitments.clone(),
            bytes.len() <= MAX_REPORT_BYTES,
        ) else {
            warn!("A report on storage commitment can't be read.");
            return Status::INVALID_ARGUMENT_VALUE;
        };
        match tokio::task::spawn_blocking(move || sink.report(&report)).await {
            Ok(Ok(())) => Status::SUCCESS,
            Ok(Err(error)) => {
                warn!(cause = %error.0, "A report on storage commitment could not be recorded.");
                Status::PROCESSING_FAILURE
            }
            Err(_) => Status::PROCESSING_FAILURE,
        }
    }

    /// Sends a command set, in pieces if the peer takes only short PDUs.
    async fn respond(&mut self, presentation_context_id: u8, set: &[u8]) -> Result<(), Ended> {
        const VALUE_HEADER_BYTES: usize = 6;
        let mut pieces = set.chunks(self.peer_max_pdu as usize - VALUE_HEADER_BYTES).peekable();
        while let Some(piece) = pieces.next() {
            let value = PDataValue {
                presentation_context_id,
                value_type: PDataValueType::Command,
                is_last: pieces.peek().is_none(),
                data: piece.to_vec(),
            };
            self.write(&Pdu::PData { data: vec![value] }).await?;
        }
        Ok(())
    }

    async fn write(&mut self, pdu: &Pdu) -> Result<(), Ended> {
        let idle = self.shared.config.idle_timeout();
        timeout(idle, self.stream.write(pdu)).await.map_err(|_| Ended::Silent)?.map_err(Ended::from)
    }
}

/// Failures of this machine are worth a line each; faults of the peer are counted.
fn log_failure(refusal: &Refusal) {
    let reason = refusal.reason.code();
    if refusal.reason.is_transient() {
        warn!(reason, cause = refusal.cause(), "An instance could not be stored.");
    } else {
        debug!(reason, "An instance was refused.");
    }
}

#[cfg(test)]
mod tests;
