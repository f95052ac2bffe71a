//! What only this engine has: budgets, memory, suspension at any instruction.
