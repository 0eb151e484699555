"""Files of events, Parquet and NDJSON: each verifiable by itself, written whole or not at all."""
