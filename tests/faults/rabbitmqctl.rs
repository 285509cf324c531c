//! RabbitMQ's own tool, asked at a node that a test started.

use std::process::Command;

use crate::harness::servers::PrivateServer;

/// What RabbitMQ calls this node.
pub fn node_name(server: &PrivateServer) -> String {
    let settings = std::fs::read_to_string(server.state.join("servers/rabbitmq/rabbitmq.conf"));
    let settings = settings.unwrap();
    // One that joined another is the second of those it asked.
    let member = settings.lines().find_map(|line| line.split_once("classic_config.nodes.2 = "));
    member.map_or("customer_service@localhost", |(_, node)| node.trim()).to_owned()
}

/// What it says. Takes 2 s.
///
/// # Panics
/// When the node is not there, or does not know the command.
pub fn rabbitmqctl(server: &PrivateServer, arguments: &[&str]) -> String {
    let servers = server.state.join("servers").canonicalize().unwrap();
    let home = servers.join("rabbitmq");
    let read = |path| std::fs::read_to_string(path).unwrap();
    let output = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
        .args(["--node", &node_name(server), "--quiet"])
        .args(arguments)
        .env("HOME", &home)
        .env("ERL_EPMD_PORT", read(servers.join("ports/epmd")).trim())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_CONF_ENV_FILE", home.join("env.conf"))
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {complaints}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
