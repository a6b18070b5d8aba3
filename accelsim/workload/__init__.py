"""What is computed: tensors, ops and graphs of them, and where they come from. Knows no hardware."""
