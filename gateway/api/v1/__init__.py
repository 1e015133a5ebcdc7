"""The OpenAI Videos dialect."""
