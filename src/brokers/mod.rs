//! The doors to RabbitMQ and Redis: the only files that name `lapin` and `redis`.

pub mod brake;
pub mod limits;
pub mod rabbit;
pub mod redis;
