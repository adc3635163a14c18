"""How a long conversation is shortened for the model that it is told to: one contract, one module for each way."""
