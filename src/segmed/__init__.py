"""SegMed: does a promptable foundation model beat a well-trained U-Net on your images?"""
