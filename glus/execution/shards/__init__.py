"""Work spread over several machines that share the project's folder: what is asked for, who does it, who waits."""
