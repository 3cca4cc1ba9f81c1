"""Search for update rules: how an optimizer turns gradients into steps."""
