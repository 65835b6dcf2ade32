//! The short PDUs byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

#[test]
fn short_pdus_are_written_as_the_standard_says() {
    assert_eq!(write_release_request().unwrap(), [5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    assert_eq!(write_release_reply().unwrap(), [6, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    for codes in [(0, 0), (2, 0), (2, 1), (2, 2), (2, 4), (2, 5), (2, 6)] {
        let bytes = write_abort(codes).unwrap();
        assert_eq!(bytes, [7, 0, 0, 0, 0, 4, 0, 0, codes.0, codes.1]);
        assert_eq!(read_abort(&bytes[6..]), codes);
    }
    assert_eq!(read_abort(&[]), (0, 0));
}

#[test]
fn rejections_carry_their_codes() {
    let rows = [
        (Rejection::NoReason, (1, 1, 1)),
        (Rejection::ApplicationContextNotSupported, (1, 1, 2)),
        (Rejection::CallingNotRecognised, (1, 1, 3)),
        (Rejection::CalledNotRecognised, (1, 1, 7)),
        (Rejection::IdentityRefused, (1, 2, 1)),
        (Rejection::ProtocolVersionNotSupported, (1, 2, 2)),
        (Rejection::TemporaryCongestion, (2, 3, 1)),
        (Rejection::LocalLimitExceeded, (2, 3, 2)),
    ];
    for (rejection, codes) in rows {
        assert_eq!(rejection.codes(), codes);
        let bytes = write_reject(rejection).unwrap();
        assert_eq!(bytes, [3, 0, 0, 0, 0, 4, 0, codes.0, codes.1, codes.2]);
        assert_eq!(read_reject(&bytes[6..]), codes);
    }
    assert_eq!(read_reject(&[0, 9, 9, 9]), (9, 9, 9));
    assert_eq!(read_reject(&[0, 1]), (0, 0, 0));
}
