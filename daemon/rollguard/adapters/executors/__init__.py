"""Other hands than the guard's own: flyctl, a workflow of a GitHub repository, the team's own command."""
