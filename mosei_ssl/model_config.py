"""What a user may set about the models.

Apart from them, so that the command line knows its options without waiting for Keras.
"""

from dataclasses import dataclass

from mosei_ssl.ranges import check_range


@dataclass
class BackboneConfig:
    """Options of a backbone.

    Attributes:
        kind: ``"transformer"``, ``"gru"`` (bidirectional) or ``"codebook"``.
        hidden_dim: width of the encoder; entries of the codebook.
        num_layers: transformer blocks or bidirectional GRU layers.
        num_heads: attention heads (transformer only); divides hidden_dim.
        feedforward_dim: width inside the feed-forward networks (transformer only).
        dropout: dropout rate inside the encoder (not codebook, which has nothing to drop).
        code_dim: width of the space in which timesteps and entries are compared (codebook only).
        context: timesteps that are looked at together, odd (codebook only).
        pooling_factor: frames, 10 ms each, per timestep of the encoder (mean and standard
            deviation of each window).
        epsilon: smallest standard deviation that features are divided by.
        clip: largest absolute value of a standardised feature.
    """

    kind: str = "transformer"
    hidden_dim: int = 64
    num_layers: int = 2
    num_heads: int = 4
    feedforward_dim: int = 128
    dropout: float = 0.1
    code_dim: int = 60
    context: int = 5
    pooling_factor: int = 10
    epsilon: float = 1e-3
    clip: float = 8.0

    def __post_init__(self) -> None:
        check_range("backbone.epsilon", self.epsilon, 0, above=True)
        check_range("backbone.clip", self.clip, 0, above=True)


@dataclass
class PretrainingTaskConfig:
    """Options of the pretraining task.

    An option that is None has the default of the task; one that the task does not know is an
    error.

    Attributes:
        name: which task, a key of `PRETRAINING_TASKS`: ``"masked_timestep"`` (the paper's),
            ``"alteration"`` (TERA), ``"masked_autoencoder"``, ``"latent_prediction"`` (data2vec),
            ``"two_crop_contrastive"``, ``"two_crop_whitening"`` or ``"codebook"`` (k-means).
        mask_ratio: share of hidden timesteps (tasks that hide timesteps).
        mask_span: length of a hidden span in pooled timesteps (likewise).
        loss: reconstruction error, ``"l1"`` or ``"huber"`` (tasks that reconstruct).
        column_rate: share of hidden columns (alteration).
        noise_rate: share of timesteps that get noise (alteration).
        noise_scale: standard deviation of that noise (alteration).
        decoder_dim: width of the decoder (masked_autoencoder).
        momentum: share of the teacher that stays in every step (latent_prediction).
        min_crop: smallest share of a segment in a crop (two_crop tasks).
        max_crop: largest share (two_crop_contrastive).
        feature_dropout: share of feature columns dropped (two_crop_contrastive).
        temperature: of the comparison between crops (two_crop_contrastive).
        projection_dim: width of the space of comparison (two_crop_contrastive).
        strength: weight of differences within segments (two_crop_whitening, codebook).
        min_part: smallest share of a segment in one of its two parts (likewise).
        splits: random splits of each segment (likewise).
    """

    name: str = "masked_timestep"
    mask_ratio: float | None = None
    mask_span: int | None = None
    loss: str | None = None
    column_rate: float | None = None
    noise_rate: float | None = None
    noise_scale: float | None = None
    decoder_dim: int | None = None
    momentum: float | None = None
    min_crop: float | None = None
    max_crop: float | None = None
    feature_dropout: float | None = None
    temperature: float | None = None
    projection_dim: int | None = None
    strength: float | None = None
    min_part: float | None = None
    splits: int | None = None


@dataclass
class HeadConfig:
    """Options of the emotion head.

    Attributes:
        kind: parameterisation of the distribution, ``"ordinal"`` or ``"categorical"``, see
            `DistributionHead`.
        embedding_dim: width of the hidden layer between pooling and distribution; 0 for none.
        dropout: dropout on the pooled statistics and on the embedding.
        encoder_statistics: pool the encoder's states (mean and standard deviation).
        summary: use the backbone's utterance summary too, so that the encoder has to add to what
            classical statistics know instead of finding it again.
        weight_penalty: squared weights of the distribution's dense layer times this are added to
            the loss. With few labels and many statistics it decides more than any other option.
        label_smoothing: share of each target spread over all levels.
        min_crop: in training, segments are cropped to a random share of at least this, see
            `RandomCrop`; 1 never crops.
        feature_dropout: in training, share of feature columns dropped, see `FeatureDropout`.

    Raises:
        UserError: If a value is out of range; the message names the key.
    """

    kind: str = "ordinal"
    embedding_dim: int = 0
    dropout: float = 0.2
    encoder_statistics: bool = True
    summary: bool = True
    weight_penalty: float = 0.1
    label_smoothing: float = 0.0
    min_crop: float = 1.0
    feature_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range("head.embedding_dim", self.embedding_dim, 0)
        check_range("head.dropout", self.dropout, 0, 1, below=True)
        check_range("head.weight_penalty", self.weight_penalty, 0)
        check_range("head.label_smoothing", self.label_smoothing, 0, 1)
        check_range("head.min_crop", self.min_crop, 0, 1, above=True)
        check_range("head.feature_dropout", self.feature_dropout, 0, 1, below=True)
