"""What is made of a run: findings, the audit, its report, and the files that hold them."""
