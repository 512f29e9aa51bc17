"""What to fetch by hand, and what to do when it cannot be fetched."""

MANUAL_DOWNLOAD_INSTRUCTIONS = """\
CMU-MOSEI must be fetched by hand. Put one kind of features and one kind of labels into the
folder; file names do not matter, except those of .mat files.

Features, one of:
  * http://immortal.multicomp.cs.cmu.edu/CMU-MOSEI/acoustic/CMU_MOSEI_COVAREP.csd
    (root name 'COVAREP');
  * the COVAREP .mat files of the raw archive
    http://immortal.multicomp.cs.cmu.edu/raw_datasets/CMU_MOSEI.zip
    (<video id>.mat, each with 'features' [rows, 74]), in this folder or in folders below it.
Labels, one of:
  * http://immortal.multicomp.cs.cmu.edu/CMU-MOSEI/labels/CMU_MOSEI_Labels.csd
    (root name 'All Labels');
  * a CSV file with the columns id, start, end, sentiment, happy, sad, anger, surprise, disgust,
    fear, times in seconds.
Folds, if you like: folds.json ({"train": [video ids], "validation": [...], "test": [...]}) or the
SDK's cmu_mosei_std_folds.py. Without either, the standard folds are downloaded from GitHub.

The host has been out of reach for months at a time. Then:
  * ask its owners: https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK (issues 22 and 24 are
    about this; people name unofficial copies there, for which nobody vouches);
  * if you have the recordings, compute the features: mosei-ssl extract --help;
  * meanwhile use any corpus in the same layout, or the config 'synthetic'.
"""
