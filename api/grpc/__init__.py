"""The quote service over gRPC; `quotes_pb2*` are generated from `quotes.proto`."""
