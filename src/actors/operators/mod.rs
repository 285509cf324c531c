//! What those who run the service see of this node, beside its actors, and what they may do to it.

pub mod desk;
pub mod figures;
pub mod installation;
pub mod last_hour;
