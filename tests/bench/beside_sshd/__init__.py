"""What `beside-sshd` does: servers, target and clients are processes of their own, so that none waits for another's interpreter."""
