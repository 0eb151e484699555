"""NATS JetStream: the streams and the relay that fills them from the log."""
