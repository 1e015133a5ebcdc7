"""What operators do to accounts: every order is carried out once and logged for good."""
