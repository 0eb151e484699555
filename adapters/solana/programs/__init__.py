"""One file per on-chain program: id, account layouts, instruction builders."""
