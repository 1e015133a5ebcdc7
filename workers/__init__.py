"""Worker hosts: take deliveries, claim jobs, render them on a device, hand the result back."""
