"""Our words and theirs: one module for each vocabulary that others speak, all pure functions over plain JSON values."""
