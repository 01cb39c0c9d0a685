//! The provider against a peer that does right and wrong, over TCP.

use crate::receive::testing::{
    CT, EXPLICIT, IMPLICIT, MR, Sample, Scu, TestServer, VERIFICATION, command_set, request,
};
use crate::receive::{Change, Config, Origin, Reason};
use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason,
    AssociationRJSource, PDataValueType, Pdu, PresentationContextResultReason as ContextResult,
    RequestorRoles, UserVariableItem,
};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

const SUCCESS: u16 = 0x0000;

async fn server() -> TestServer {
    TestServer::start(|_| ()).await
}

#[tokio::test]
async fn echo_and_store_work_on_one_association() {
    let server = server().await;
    let mut scu = Scu::associate(&server).await;
    assert_eq!(scu.echo().await, SUCCESS);
    let sample = Sample::default();
    assert_eq!(scu.store(3, &sample.sop_instance_uid, &sample.explicit()).await, SUCCESS);
    assert_eq!(scu.store(3, &sample.sop_instance_uid, &sample.explicit()).await, SUCCESS);
    let other = Sample::numbered(2);
    assert_eq!(scu.store(5, &other.sop_instance_uid, &other.implicit()).await, SUCCESS);
    scu.release().await;
    let stored = server.sink.stored.lock().unwrap();
    let changes: Vec<_> = stored.iter().map(|s| s.change).collect();
    assert_eq!(changes, [Change::New, Change::Unchanged, Change::New]);
    assert_eq!(server.visible(), 2);
    assert!(server.sink.refused.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_report_on_storage_commitment_is_taken_from_its_provider() {
    const COMMITMENT: &str = "1.2.840.10008.1.20.1";
    const REPORT: u16 = 0x0100;
    let server = server().await;
    let mut scu = Scu::connect(&server).await;
    let mut request = request(&[(COMMITMENT, &[IMPLICIT]), (VERIFICATION, &[IMPLICIT])]);
    let role = |scu, scp| {
        let roles = RequestorRoles { scu, scp };
        UserVariableItem::ScuScpRoleSelectionSubItem(COMMITMENT.to_owned(), roles)
    };
    request.user_variables.push(role(false, true));
    scu.send(&request.into()).await;
    let Some(Pdu::AssociationAC(answer)) = scu.receive().await else { panic!("not accepted") };
    assert!(answer.user_variables.contains(&role(false, true)));

    // Transaction UID alone: nothing was committed.
    let report = [&[8, 0, 0x95, 0x11, 6, 0, 0, 0][..], b"2.25.7"].concat();
    let junk = b"no data set".to_vec();
    for (data_set, fails, status) in
        [(&report, false, SUCCESS), (&junk, false, 0x0115), (&report, true, 0x0110)]
    {
        server.sink.fails.store(fails, Ordering::SeqCst);
        let set = command_set(REPORT, 1, COMMITMENT, Some("1.2.840.10008.1.20.1.1"), true);
        let data = vec![
            Scu::value(1, PDataValueType::Command, true, &set),
            Scu::value(1, PDataValueType::Data, true, data_set),
        ];
        scu.send(&Pdu::PData { data }).await;
        assert_eq!(scu.status().await, status);
    }
    scu.release().await;
    let reports = server.sink.reports.lock().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].transaction_uid, "2.25.7");
}

#[tokio::test]
async fn messages_may_be_cut_and_joined_at_will() {
    let server = server().await;
    let mut scu = Scu::associate(&server).await;
    let first = Sample::default();
    // two whole messages in one PDU, in fragments of 7 bytes and with an empty one in each
    let mut values = scu.store_values(3, &first.sop_instance_uid, &first.explicit(), 7);
    values.insert(1, Scu::value(3, PDataValueType::Data, false, &[]));
    let second = Sample::numbered(2);
    values.extend(scu.store_values(5, &second.sop_instance_uid, &second.implicit(), 4096));
    scu.send(&Pdu::PData { data: values }).await;
    assert_eq!(scu.status().await, SUCCESS);
    assert_eq!(scu.status().await, SUCCESS);

    // one value per PDU, the command cut too, and each PDU in two TCP segments
    let third = Sample::numbered(3);
    let mut values = scu.store_values(3, &third.sop_instance_uid, &third.explicit(), 500);
    let command = values.remove(0);
    for (n, byte) in command.data.iter().enumerate() {
        let last = n + 1 == command.data.len();
        values.insert(n, Scu::value(3, PDataValueType::Command, last, &[*byte]));
    }
    for value in values {
        let mut bytes = Vec::new();
        dicom_ul::pdu::write_pdu(&mut bytes, &Pdu::PData { data: vec![value] }).unwrap();
        scu.send_bytes(&bytes[..3]).await;
        scu.send_bytes(&bytes[3..]).await;
    }
    assert_eq!(scu.status().await, SUCCESS);
    assert_eq!(server.visible(), 3);
}

#[tokio::test]
async fn each_presentation_context_gets_its_own_answer() {
    let server = server().await;
    let mut scu = Scu::connect(&server).await;
    let jpeg_baseline = "1.2.840.10008.1.2.4.50";
    let jpeg_ls = "1.2.840.10008.1.2.4.80";
    let contexts: [(&str, &[&str]); 6] = [
        (VERIFICATION, &[IMPLICIT]),
        (MR, &[IMPLICIT, jpeg_ls, EXPLICIT]),
        (MR, &[jpeg_baseline, jpeg_ls]),
        (MR, &[jpeg_baseline]),
        (CT, &[EXPLICIT]),
        ("1.2.840.10008.5.1.4.1.1.4.1\0", &["1.2.840.10008.1.2.1\0"]),
    ];
    scu.send(&request(&contexts).into()).await;
    let Some(Pdu::AssociationAC(answer)) = scu.receive().await else { panic!("not accepted") };
    let got: Vec<_> = answer
        .presentation_contexts
        .iter()
        .map(|c| (c.id, c.reason.clone(), c.transfer_syntax.as_str()))
        .collect();
    use ContextResult::{AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported};
    let want = [
        (1, Acceptance, IMPLICIT),
        (3, Acceptance, EXPLICIT),
        (5, Acceptance, jpeg_ls),
        (7, TransferSyntaxesNotSupported, IMPLICIT),
        (9, AbstractSyntaxNotSupported, IMPLICIT),
        (11, Acceptance, EXPLICIT),
    ];
    assert_eq!(got, want);
}

#[tokio::test]
async fn one_association_too_many_is_rejected_as_transient() {
    let server = TestServer::start(|c| c.max_associations = 1).await;
    let first = Scu::associate(&server).await;
    let mut second = Scu::connect(&server).await;
    second.send(&request(&[(VERIFICATION, &[IMPLICIT])]).into()).await;
    let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
    let rejection = AssociationRJ {
        result: AssociationRJResult::Transient,
        source: AssociationRJSource::ServiceProviderPresentation(reason),
    };
    assert_eq!(second.receive().await, Some(rejection.into()));
    let counted = server.counts.exposition();
    assert!(counted.contains("associations_rejected_total{reason=\"local_limit_exceeded\"} 1\n"));
    assert!(counted.contains("associations_active 1\n"), "{counted}");
    drop(second);
    first.release().await;
    // the permit comes back when the connection has ended
    for _ in 0..100 {
        if server.counts.exposition().contains("associations_active 1\n") {
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        let mut third = Scu::connect(&server).await;
        third.send(&request(&[(VERIFICATION, &[IMPLICIT])]).into()).await;
        if matches!(third.receive().await, Some(Pdu::AssociationAC(_))) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a released association was never free again");
}

#[tokio::test]
async fn titles_and_protocol_are_checked() {
    let server = TestServer::start(|c| {
        c.peers = toml::from_str::<Config>("peers = [{ calling_ae = 'TESTER' }]").unwrap().peers;
    })
    .await;
    let good = request(&[(VERIFICATION, &[IMPLICIT])]);
    let with = |change: fn(&mut dicom_ul::pdu::AssociationRQ)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    // result, source, reason as they stand in the PDU; and what is counted
    let cases = [
        (with(|r| r.called_ae_title = "OTHER".into()), [1, 1, 7], "called_ae_not_recognized"),
        (with(|r| r.calling_ae_title = "STRANGER".into()), [1, 1, 3], "calling_ae_not_recognized"),
        (
            with(|r| r.application_context_name = "1.2".into()),
            [1, 1, 2],
            "application_context_not_supported",
        ),
        (with(|r| r.protocol_version = 2), [1, 2, 2], "protocol_version_not_supported"),
    ];
    for (request, want, counted) in cases {
        let mut scu = Scu::connect(&server).await;
        scu.send(&request.into()).await;
        let mut bytes = Vec::new();
        dicom_ul::pdu::write_pdu(&mut bytes, &scu.receive().await.unwrap()).unwrap();
        assert_eq!((bytes[0], &bytes[7..10]), (3, &want[..]));
        let counted = format!("associations_rejected_total{{reason=\"{counted}\"}} 1\n");
        assert!(server.counts.exposition().contains(&counted), "{counted}");
    }
    // bit 0 is what counts
    let mut scu = Scu::connect(&server).await;
    scu.send(&with(|r| r.protocol_version = 3).into()).await;
    assert!(matches!(scu.receive().await, Some(Pdu::AssociationAC(_))));
}

#[tokio::test]
async fn silent_peers_are_aborted() {
    let server = TestServer::start(|c| {
        c.request_timeout_s = 1;
        c.idle_timeout_s = 1;
    })
    .await;
    let mut mute = Scu::connect(&server).await;
    assert!(matches!(mute.receive().await, Some(Pdu::AbortRQ { .. })));
    let mut idle = Scu::associate(&server).await;
    idle.send_bytes(&[4, 0, 0]).await;
    assert!(matches!(idle.receive().await, Some(Pdu::AbortRQ { .. })));
}

#[tokio::test]
async fn a_busy_association_ends_at_its_total_time() {
    let server = TestServer::start(|c| c.association_timeout_s = 1).await;
    let mut scu = Scu::associate(&server).await;
    for _ in 0..100 {
        let set = command_set(0x0030, 1, VERIFICATION, None, false);
        let value = Scu::value(1, PDataValueType::Command, true, &set);
        scu.send(&Pdu::PData { data: vec![value] }).await;
        if let Some(Pdu::AbortRQ { .. }) = scu.receive().await {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the association went on");
}

#[tokio::test]
async fn a_pdu_longer_than_agreed_is_aborted_unread() {
    let server = TestServer::start(|c| c.max_pdu_bytes = 4096).await;
    for header in [[4, 0, 0, 0, 0x10, 0x01], [4, 0, 0xff, 0xff, 0xff, 0xff], [5, 0, 0, 0, 1, 0]] {
        let mut scu = Scu::associate(&server).await;
        scu.send_bytes(&header).await;
        assert!(matches!(scu.receive().await, Some(Pdu::AbortRQ { .. })), "{header:?}");
    }
    let mut scu = Scu::connect(&server).await;
    scu.send_bytes(&[1, 0, 0x7f, 0xff, 0xff, 0xff]).await;
    assert!(matches!(scu.receive().await, Some(Pdu::AbortRQ { .. })));
    let mut scu = Scu::connect(&server).await;
    scu.send_bytes(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!(scu.receive().await, Some(Pdu::AbortRQ { .. })));
}

#[tokio::test]
async fn an_object_too_large_is_refused_and_the_next_one_stored() {
    let server = server().await;
    let mut scu = Scu::associate(&server).await;
    let large = Sample { pixels: vec![0; 3 << 20], ..Sample::default() };
    assert_eq!(scu.store(5, &large.sop_instance_uid, &large.implicit()).await, 0xa700);
    let small = Sample::numbered(2);
    assert_eq!(scu.store(3, &small.sop_instance_uid, &small.explicit()).await, SUCCESS);
    assert_eq!((server.visible(), server.incoming()), (1, 0));
}

#[tokio::test]
async fn each_refusal_has_its_status_and_is_reported_once() {
    let server = server().await;
    let mut scu = Scu::associate(&server).await;
    let sample = Sample::default();
    let set = sample.explicit();
    let ct = Sample { sop_class_uid: CT.to_owned(), ..sample.clone() };
    let no_study = Sample { study_instance_uid: String::new(), ..sample.clone() };
    let cases = [
        (set.clone(), "1.2.3.5", 0xa900),
        (ct.explicit(), "1.2.3.4", 0xa900),
        (no_study.explicit(), "1.2.3.4", 0xa900),
        (set[..set.len() - 1].to_vec(), "1.2.3.4", 0xc000),
        (sample.implicit(), "1.2.3.4", 0xc000),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "1.2.3.4", 0xc000),
    ];
    for (n, (set, uid, want)) in cases.into_iter().enumerate() {
        assert_eq!(scu.store(3, uid, &set).await, want, "case {n}");
    }
    // a command without data set; an operation nobody offers; a class that no context was accepted for
    let mut ask = async |context, field, class| {
        let command = command_set(field, 9, class, Some("1.2.3.4"), false);
        let value = Scu::value(context, PDataValueType::Command, true, &command);
        scu.send(&Pdu::PData { data: vec![value] }).await;
        scu.status().await
    };
    assert_eq!(ask(3, 0x0001, MR).await, 0xc000);
    assert_eq!(ask(3, 0x0020, MR).await, 0x0211);
    assert_eq!(ask(1, 0x0001, MR).await, 0x0122);
    assert_eq!(scu.store(3, &sample.sop_instance_uid, &set).await, SUCCESS);
    scu.release().await;

    let refused = server.sink.refused.lock().unwrap();
    assert_eq!(refused.len(), 1);
    assert!(matches!(&refused[0].origin, Origin::Association { calling_ae: Some(ae), .. }
        if ae.as_str() == "TESTER"));
    assert_eq!(refused[0].counts[&Reason::UidMismatch], 2);
    assert_eq!(refused[0].counts[&Reason::MissingUid], 1);
    assert_eq!(refused[0].counts[&Reason::SopClassNotSupported], 1);
    assert_eq!(refused[0].total(), 8);
    assert_eq!((server.visible(), server.incoming()), (1, 0));
}

#[tokio::test]
async fn a_study_uid_full_of_dots_and_slashes_is_refused() {
    let server = server().await;
    let mut scu = Scu::associate(&server).await;
    let uid = "../".repeat(21) + "x";
    assert_eq!(uid.len(), 64);
    let hostile = Sample { study_instance_uid: uid, ..Sample::default() };
    assert_eq!(scu.store(3, &hostile.sop_instance_uid, &hostile.explicit()).await, 0xa900);
    assert!(server.store.list().unwrap().is_empty());
    let sample = Sample::default();
    assert_eq!(scu.store(3, &sample.sop_instance_uid, &sample.explicit()).await, SUCCESS);
}

#[tokio::test]
async fn success_waits_for_the_index() {
    let server = server().await;
    server.sink.fails.store(true, Ordering::SeqCst);
    let mut scu = Scu::associate(&server).await;
    let sample = Sample::default();
    assert_eq!(scu.store(3, &sample.sop_instance_uid, &sample.explicit()).await, 0xa700);
    server.sink.fails.store(false, Ordering::SeqCst);
    assert_eq!(scu.store(3, &sample.sop_instance_uid, &sample.explicit()).await, SUCCESS);
    assert_eq!(server.sink.stored.lock().unwrap()[0].change, Change::Unchanged);
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_leaves_nothing() {
    let server = server().await;
    let mut scu = Scu::associate(&server).await;
    let large = Sample { pixels: vec![0; 900 << 10], ..Sample::default() };
    let mut values = scu.store_values(5, &large.sop_instance_uid, &large.implicit(), 10_000);
    values.pop();
    for value in values {
        scu.send(&Pdu::PData { data: vec![value] }).await;
    }
    for _ in 0..100 {
        if server.incoming() == 1 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((server.visible(), server.incoming()), (0, 1), "half an instance is on its way");
    drop(scu);
    for _ in 0..100 {
        if server.incoming() == 0 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((server.visible(), server.incoming()), (0, 0));
}

#[tokio::test]
async fn nonsense_between_messages_aborts() {
    let server = server().await;
    let orphan = |context| Scu::value(context, PDataValueType::Data, true, b"data");
    for value in [orphan(3), Scu::value(3, PDataValueType::Command, true, b"junk")] {
        let mut scu = Scu::associate(&server).await;
        scu.send(&Pdu::PData { data: vec![value] }).await;
        assert!(matches!(scu.receive().await, Some(Pdu::AbortRQ { .. })));
    }
    let mut scu = Scu::associate(&server).await;
    let set = command_set(0x0030, 1, VERIFICATION, None, false);
    let elsewhere = Scu::value(99, PDataValueType::Command, true, &set);
    scu.send(&Pdu::PData { data: vec![elsewhere] }).await;
    assert!(matches!(scu.receive().await, Some(Pdu::AbortRQ { .. })));
}

#[tokio::test]
async fn a_stop_lets_associations_finish_and_then_aborts_them() {
    let server = TestServer::start(|c| c.shutdown_grace_s = 1).await;
    let mut busy = Scu::associate(&server).await;
    let mut lazy = Scu::associate(&server).await;
    server.shutdown.cancel();
    let sample = Sample::default();
    assert_eq!(busy.store(3, &sample.sop_instance_uid, &sample.explicit()).await, SUCCESS);
    busy.release().await;
    assert!(matches!(lazy.receive().await, Some(Pdu::AbortRQ { .. })));
    drop(lazy);
    server.running.await.unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
