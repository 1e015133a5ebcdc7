"""What digital humans cost, and whether they speak, in figures."""
