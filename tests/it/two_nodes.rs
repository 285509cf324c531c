//! Two nodes on one database and one broker, of which one is killed, frozen or cut off: the other goes
//! on with everything, and what callers see stays one history.

mod handover;
mod histories;
