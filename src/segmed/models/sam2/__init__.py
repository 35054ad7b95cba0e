"""SAM 2's image model: its Hiera encoder of three levels, prompt encoder and mask decoder, for single images."""
