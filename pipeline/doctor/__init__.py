"""What `vivit doctor` looks at before a run: where a workdir is, and the machines that Beam's steps will run on."""
