//! What any node can be asked about any key, and its answers.

use hashring::Mode;
use proto::ensemble::chord::v1 as pb;

use super::types::{Done, Place, done, mode};

pub(crate) fn save(key: &[u8], value: &[u8], how: Option<Mode>) -> pb::SaveRequest {
    pb::SaveRequest { key: key.to_vec().into(), value: value.to_vec().into(), mode: mode(how) }
}

pub(crate) fn saved(answer: pb::SaveResponse) -> Option<Done<bool>> {
    done(answer.saved, answer.id, answer.path)
}

pub(crate) fn remove(key: &[u8], how: Option<Mode>) -> pb::RemoveRequest {
    pb::RemoveRequest { key: key.to_vec().into(), mode: mode(how) }
}

pub(crate) fn removed(answer: pb::RemoveResponse) -> Option<Done<bool>> {
    done(answer.removed, answer.id, answer.path)
}

pub(crate) fn find(key: &[u8], how: Option<Mode>) -> pb::FindRequest {
    pb::FindRequest { key: key.to_vec().into(), mode: mode(how) }
}

pub(crate) fn found(answer: pb::FindResponse) -> Option<Done<Option<Vec<u8>>>> {
    done(answer.value.map(Vec::from), answer.id, answer.path)
}

pub(crate) fn locate(place: &Place, how: Option<Mode>) -> pb::LocateRequest {
    let place = match place {
        Place::Id(id) => pb::locate_request::Place::Id(id.0),
        Place::Key(key) => pb::locate_request::Place::Key(key.clone().into()),
    };
    pb::LocateRequest { place: Some(place), mode: mode(how) }
}

pub(crate) fn located(answer: pb::LocateResponse) -> Option<Done<()>> {
    done((), answer.id, answer.path)
}
