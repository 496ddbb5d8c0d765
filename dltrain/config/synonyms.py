"""What other tools call it: Keras, PyTorch, scikit-learn and others, and what dltrain calls it.

Hints are made of these tables (`dltrain.config.hints`); nothing is accepted under another name. The file is long
because it is nothing but these tables.
"""

from collections.abc import Mapping


def _each(table: Mapping[tuple[str, ...] | str, str]) -> dict[str, tuple[str, ...]]:
    """Turn ours -> their names, separated by spaces, into theirs -> ours."""
    pairs = ((ours if isinstance(ours, tuple) else (ours,), names.split()) for ours, names in table.items())
    return {name: ours for ours, names in pairs for name in names}


KEYS = _each(
    {
        ("model.widths", "model.hidden", "model.width"): (
            "units hidden_units hidden_sizes layer_sizes hidden_layers hidden_layer_sizes hidden_dims neurons nodes"
        ),
        ("model.hidden", "model.width", "model.widths", "model.code"): (
            "hidden_size hidden_dim hidden_features latent_dim latent_size n_hidden num_units rnn_units "
            "state_size dim"
        ),
        (
            "model.layers",
            "model.blocks",
            "model.widths",
            "model.channels",
        ): "layers num_layers n_layers depth number_of_layers",
        ("model.channels", "model.widths", "model.width"): (
            "filters num_filters n_filters out_channels num_channels conv_channels features base_channels "
            "feature_maps"
        ),
        (
            "model.width",
            "model.embedding",
            "model.hidden",
        ): "d_model embed_dim embedding_dim embedding_size n_embd model_dim hidden_size_model",
        "model.heads": "num_heads n_heads nhead n_head attention_heads",
        "model.feedforward": "dim_feedforward ffn_dim d_ff mlp_dim intermediate_size",
        "model.kernel": "kernel_size filter_size conv_kernel",
        "model.stride": "strides",
        "model.window": "pool_size pooling_size",
        ("model.head_pooling", "model.pool"): "pooling global_pool global_pooling",
        "model.dropout": "dropout_rate drop_rate drop p_drop dropout_p keep_prob",
        "model.activation": "act nonlinearity activation_fn activation_function act_fn hidden_activation",
        "model.kernel_init": "kernel_initializer weight_init weights_init initializer init w_init",
        "model.bias_init": "bias_initializer b_init",
        "model.recurrent_init": "recurrent_initializer",
        "model.norm": (
            "batch_norm batchnorm use_batchnorm use_batch_norm bn normalization norm_layer layer_norm normalisation"
        ),
        "model.dense": "fc fc_sizes classifier hidden_dense",
        "model.remat": "checkpointing gradient_checkpointing activation_checkpointing",
        "optim.learning_rate": "eta eta0 learning_rate_init base_lr alpha_lr step_size_lr lr learningrate",
        ("optim.b1", "optim.beta"): "beta1 beta_1 betas",
        "optim.b2": "beta2 beta_2",
        ("optim.eps", "loss.eps"): "epsilon",
        ("optim.momentum", "optim.b1"): "momentum mom",
        ("optim.decay", "optim.weight_decay"): "decay l2_penalty weight_penalty",
        "optim.clip": (
            "clipnorm clip_norm max_grad_norm clipvalue gradient_clip gradient_clipping global_clipnorm "
            "grad_clip clip_grad_norm gradient_clip_val"
        ),
        "optim.accumulate": (
            "accumulate_grad_batches gradient_accumulation_steps grad_accum accumulation_steps "
            "gradient_accumulation"
        ),
        "optim.ema": "ema_decay use_ema ema_momentum polyak",
        "schedule.warmup_steps": "num_warmup_steps warmup_steps n_warmup warmup_iters warmup",
        "schedule.warmup_epochs": "warmup_epochs",
        ("loss.gamma", "optim.decay_rate", "schedule.factor", "schedule.rate"): "gamma decay_rate lr_decay",
        ("schedule.every", "schedule.fractions"): "step_size decay_steps",
        ("schedule.boundaries", "schedule.fractions"): "milestones",
        ("schedule.final", "schedule.min_scale"): "eta_min end_learning_rate final_lr",
        ("lowest", "schedule.final", "schedule.min_scale"): "min_lr lr_min",
        "lowest": "start_lr",
        "highest": "max_lr lr_max end_lr",
        "rates": "num_training num_it",
        "schedule.cycles": "t_0 num_cycles n_cycles",
        "schedule.pct_start": "pct_warmup",
        "loss.class_weights": "class_weight weights_of_classes",
        "loss.l1": "l1_regularization l1_penalty l1_lambda",
        "loss.l2": "l2_regularization l2_lambda",
        "loss.label_smoothing": "smoothing",
        "data.validation": "validation_split val_size validation_size valid_size val_fraction val_split",
        "data.test": "test_size test_split test_fraction",
        "data.folds": "k_folds n_splits kfold num_folds cv",
        ("data.path", "data.root"): "file filename file_path csv csv_path data_path train_path",
        "data.target": "label labels label_column target_column class_column y_column y outcome",
        "data.test_path": "test_file test_csv",
        "data.validation_path": "val_path valid_path validation_file",
        "data.missing": "na_values null_values na_strings",
        "data.separator": "sep delimiter",
        "data.quote": "quotechar quote_char",
        "data.columns": "names column_names colnames",
        "data.meanings": "dtypes dtype schema column_types",
        "data.positive": "positive_class pos_label positive_label",
        ("data.root", "data.path"): "root_dir datadir data_root",
        "data.scale": "normalize normalise standardize standardise scaler scaling rescale",
        (
            "data.length",
            "data.longest",
        ): "seq_len sequence_length block_size context_length max_len maxlen window_size timesteps",
        "batch_size": (
            "train_batch_size per_device_train_batch_size mini_batch_size minibatch_size bs batch batchsize"
        ),
        "eval_batch_size": "test_batch_size validation_batch_size per_device_eval_batch_size val_batch_size",
        "epochs": "nb_epoch epoch_count training_epochs num_epochs max_epochs n_epochs epoch",
        "steps": (
            "num_iterations max_iter n_iter iters num_train_steps train_steps updates num_steps max_steps "
            "iterations"
        ),
        "seed": "random_state rng_seed np_seed torch_seed random_seed manual_seed",
        "output_dir": (
            "output logdir log_dir workdir ckpt_dir checkpoint_dir default_root_dir run_dir outdir out save_dir"
        ),
        "log_every": "logging_steps print_every log_every_n_steps log_interval",
        "eval_every": (
            "eval_steps check_val_every_n_epoch validation_freq val_every test_every eval_interval "
            "val_check_interval"
        ),
        "checkpoint_every": "save_steps save_freq ckpt_every checkpoint_interval save_every",
        "keep_every": "save_total_limit",
        "early_stopping.patience": "early_stop earlystopping early_stopping_patience es_patience patience",
        "stop.time": "max_time time_limit",
        "monitor": "metric_for_best_model checkpoint_metric",
        "quiet": "verbose silent",
        "overwrite": "force",
        "limit_batches": "limit_train_batches",
        "overfit_batches": "overfit",
        "runtime.precision": "fp16 bf16 dtype amp mixed_precision",
        "runtime.deterministic": "deterministic cudnn_deterministic",
        "runtime.mesh": "devices num_devices strategy num_gpus",
        "init_from": (
            "load_weights weights from_checkpoint load_from pretrained_weights warm_start pretrained resume"
        ),
        "optim.weight_decay": "wd weight_decay",
        "optim": "optimizer optimiser opt",
        "schedule": "lr_scheduler lr_schedule scheduler",
        "data": "dataset datasets",
        "data.root": "data_dir",
        "model": "net network arch architecture",
        "loss": "criterion loss_fn objective",
        "metrics": "metric",
        "augment": "augmentation augmentations transforms",
        "callbacks": "callback",
        "runtime": "device accelerator platform gpu gpus cpu tpu",
        "runtime.threads": "num_workers workers",
        "sweep": "search sweeper tuner hpo",
        "sweep.sampler": "sampler search_alg",
        "sweep.trials": "n_trials num_trials max_trials num_samples n_iter",
        "sweep.pruner": "pruner",
        "sweep.storage": "storage",
        "sweep.interval": "perturbation_interval",
        "sweep.resample": "resample_probability",
        "experiment": "config",
        "dry_run": "fast_dev_run debug",
        "name": "exp_name run_name",
    }
)
"""Theirs -> our keys or groups; the first that the config has is meant."""

CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "model": _each(
        {
            "mlp": (
                "dense fcnn fnn feedforward feed_forward nn ann dnn fully_connected multilayer_perceptron "
                "mlpclassifier sequential neural_network"
            ),
            "linear": (
                "logistic logistic_regression linear_regression softmax_regression logreg ridge lasso single_layer"
            ),
            "cnn": "conv conv2d convolutional convolutional_neural_network simple_cnn",
            "lenet": "lenet5 lenet_5",
            "resnet18": "resnet resnet_18 resnet34 resnet50",
            "rnn": "simplernn simple_rnn elman recurrent",
            "lstm": "lstm_lm bilstm",
            "transformer": "gpt gpt2 nanogpt bert encoder attention vit",
            "seq2seq_transformer": "t5 encoder_decoder_transformer bart",
            "seq2seq": "encoder_decoder nmt",
            "autoencoder": "ae vae denoising_autoencoder",
            "unet": "u_net segmentation_model",
            "rbm": "restricted_boltzmann_machine dbn boltzmann",
            "captioner": "image_captioning show_and_tell",
        }
    ),
    "loss": _each(
        {
            "cross_entropy": (
                "ce crossentropy crossentropyloss categorical_crossentropy sparse_categorical_crossentropy "
                "softmax_cross_entropy log_loss logloss"
            ),
            "binary_cross_entropy": (
                "bce bceloss bcewithlogits bcewithlogitsloss binary_crossentropy sigmoid_cross_entropy"
            ),
            "mse": "mseloss mean_squared_error l2 l2_loss l2loss squared_error least_squares quadratic",
            "mae": "l1 l1loss l1_loss mean_absolute_error absolute_error",
            "huber": "huberloss smooth_l1 smoothl1 smoothl1loss smooth_l1_loss",
            "nll": "nllloss nll_loss negative_log_likelihood",
            "kl": "kl_div kldiv kldivloss kl_divergence kullback_leibler",
            "hinge": "svm margin multi_margin hingeembeddingloss squared_hinge multimarginloss",
            "log_cosh": "logcosh",
            "focal": "focal_loss focalloss binary_focal_crossentropy",
            "quantile": "pinball pinball_loss",
            "f1": "dice dice_loss soft_f1",
        }
    ),
    "metrics": _each(
        {
            "accuracy": "acc categorical_accuracy binary_accuracy sparse_categorical_accuracy accuracy_score",
            "auroc": "auc roc_auc roc_auc_score rocauc roc",
            "average_precision": "ap map pr_auc auprc average_precision_score",
            "f1": "f1_score f_score fscore fbeta dice",
            "iou": "jaccard mean_iou miou jaccard_index",
            "confusion": "confusion_matrix cm",
            "log_loss": "cross_entropy logloss nll",
            "mse": "mean_squared_error squared_error",
            "rmse": "root_mean_squared_error",
            "mae": "mean_absolute_error absolute_error",
            "mape": "mean_absolute_percentage_error",
            "r2": "r2_score rsquared coefficient_of_determination",
            "top_k": "top5 top_5 top_5_accuracy topk top_k_accuracy top_k_categorical_accuracy",
            "ece": "calibration calibration_error expected_calibration_error",
            "perplexity": "ppl",
            "bits_per_character": "bpc bpd bits_per_byte",
            "recall": "sensitivity tpr recall_score",
            "precision": "ppv precision_score",
            "zero_one": "error error_rate zero_one_loss",
        }
    ),
    "optim": _each(
        {
            "adamw": "adam_w decoupled_adam",
            "momentum": "sgd_momentum sgdm heavy_ball nesterov nag sgd_with_momentum",
            "gd": "gradient_descent full_batch batch_gradient_descent",
            "sgd": "stochastic_gradient_descent vanilla",
            "rmsprop": "rms_prop rms",
            "lbfgs": "l_bfgs bfgs l_bfgs_b",
            "amsgrad": "adam_amsgrad ams_grad",
            "adagrad": "ada_grad",
            "schedule_free": "schedulefree sgd_schedule_free",
            "sam": "sharpness_aware",
        }
    ),
    "schedule": _each(
        {
            "cosine": (
                "cosine_annealing cosine_decay cosineannealinglr cosineannealing cosinedecay cos warmup_cosine "
                "warmup_cosine_decay"
            ),
            "cosine_restarts": "sgdr cosineannealingwarmrestarts cosine_decay_restarts warm_restarts",
            "linear": "linear_decay linearlr linear_warmup",
            "constant": "none fixed constantlr constant_with_warmup",
            "one_cycle": "onecycle onecyclelr 1cycle one_cycle_policy super_convergence",
            "plateau": "reducelronplateau reduce_on_plateau reduce_lr_on_plateau",
            "step": "steplr step_decay multistep multisteplr staircase",
            "piecewise": "piecewise_constant piecewiseconstantdecay",
            "exponential": "exponentiallr exponential_decay exponentialdecay",
            "polynomial": "poly polynomiallr polynomial_decay polynomialdecay",
            "inverse_time": "inverse_time_decay inversetimedecay",
        }
    ),
    "augment": _each(
        {
            "flip_horizontal": (
                "flip hflip horizontal_flip random_flip randomflip randomhorizontalflip fliplr mirror"
            ),
            "flip_vertical": "vflip vertical_flip randomverticalflip flipud",
            "random_crop": "crop randomcrop",
            "random_resized_crop": "randomresizedcrop resized_crop",
            "rotation": "rotate random_rotation randomrotation",
            "shift": "translate translation random_translation width_shift",
            "scaling": "zoom scale random_zoom",
            "noise": "gaussian_noise gaussiannoise jitter",
            "blur": "gaussian_blur gaussianblur",
            "brightness": "colorjitter color_jitter random_brightness",
            "contrast": "random_contrast",
            "cutout": "random_erasing randomerasing erase cut_out",
            "mixup": "mix_up",
            "cutmix": "cut_mix",
            "randaugment": "rand_augment autoaugment auto_augment trivialaugment",
            "masking": "mask specaugment spec_augment word_dropout",
            "time_shift": "roll",
        }
    ),
    "task": _each(
        {
            "classification": "classifier classify multiclass multi_class",
            "binary": "binary_classification two_class",
            "regression": "regressor regress",
            "segmentation": "semantic_segmentation",
            "language": "language_model language_modeling lm text",
            "generation": "translation seq2seq captioning",
            "reconstruction": "autoencoding denoising",
        }
    ),
    "sweep": _each(
        {
            "tpe": "bayesian bayes bayesian_optimization hyperopt optuna parzen",
            "gp": "gaussian_process gaussian bo botorch",
            "asha": "hyperband successive_halving sha halving",
            "qmc": "sobol halton quasi_random quasirandom",
            "cmaes": "cma cma_es evolution evolutionary",
            "random": "random_search randomized randomized_search",
            "pbt": "population population_based_training population_based pb2",
            "grid": "grid_search gridsearch exhaustive",
        }
    ),
    "runtime": _each(
        {
            "gpu": "cuda cuda:0 nvidia rocm amd metal",
        }
    ),
    "data": _each(
        {
            "fashion_mnist": "fashion fashionmnist fmnist fashion-mnist",
            "digits": "sklearn_digits optdigits load_digits",
            "breast_cancer": "cancer wdbc",
            "tinyshakespeare": "shakespeare tiny_shakespeare",
            "small_captions": "captions",
            "inline": "typed numbers manual",
            "pairs": "translation",
            "series": "timeseries time_series forecast forecasting",
            "characters": "txt chars text_file char",
            "sequences": "sequence",
        }
    ),
}
"""Group -> their name of a choice -> ours."""

VALUES = _each(
    {
        "silu": "swish",
        "leaky_relu": "leakyrelu lrelu prelu",
        "identity": "linear none",
        "hard_sigmoid": "hardsigmoid",
        "sigmoid": "logistic expit",
        "relu6": "relu_6",
        "tanh": "hyperbolic_tangent",
        "softplus": "soft_plus",
        "gelu": "gelu_new quick_gelu",
        "log_softmax": "logsoftmax",
        "step": "heaviside",
        "sign": "signum",
        ("glorot_uniform", "xavier_uniform"): "xavier glorot",
        ("he_normal", "he_uniform"): "he kaiming kaiming_normal msra",
        "he_uniform": "kaiming_uniform",
        ("lecun_normal",): "lecun",
        "truncated_normal": "trunc_normal",
        "normal": "gaussian random_normal randn",
        "zeros": "zero",
        "ones": "one",
        "constant": "const",
        "uniform": "random_uniform",
        "batch": "batchnorm batch_norm bn",
        "layer": "layernorm layer_norm ln",
        "average": "avg",
        "valid": "no_padding",
        "float32": "fp32 full",
        "mixed": "fp16 bf16 float16 amp half",
        "cpu": "host",
        "standard": "zscore z_score standardize standardscaler",
        "unit": "minmax min_max",
        "higher": "max",
        "lower": "min",
    }
)
"""Their name of a value -> ours; the first that the key admits is meant."""
