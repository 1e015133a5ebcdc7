"""The HTTP gateway: accounts, points, jobs and the queue. It never imports torch."""
