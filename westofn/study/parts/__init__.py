"""One module a group of arms, one DVC stage each; every module offers `run(lab)`."""
