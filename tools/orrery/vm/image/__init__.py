"""Images that VMs and disk guests start from: downloaded and verified, or bootstrapped."""
