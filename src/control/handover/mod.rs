//! One server takes another's place: what they say ([`messages`]), who asks ([`taker`]), who is asked ([`giver`]), and where
//! ([`door`]). These wait for the other server on threads of their own, or before there is anything to serve; what they change
//! the control thread does.

mod door;
mod ending;
mod giver;
mod messages;
mod sides;
mod taker;
mod uses;
mod wish;

pub(super) use door::{TakeoverDoor, TakeoverSocket};
pub(super) use giver::{
    Adopted, Candidate, HandoverLetter, HandoverNews, Offer, Offered, Released, TellUntil, give,
};
pub(super) use messages::{HandoverError, ListenerRole, ToldListener, tell_refused};
pub(super) use sides::HandoverSides;
pub(super) use taker::{Inheritance, LetGo, Predecessor};
pub(super) use uses::{CarriedFromPredecessor, UseTeller};
pub(super) use wish::Wish;
