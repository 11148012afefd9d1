"""A table tells users of PyTorch, Keras and scikit-learn how their first guess is written here."""

from __future__ import annotations

from functools import cache
from typing import Any

# An answer, and below it the names that it answers. "Embedding(input_dim)" is an option of this
# class alone, "Model.fit" an attribute, and "Optimizer()" stands for too many positional arguments.
TABLE = """
# Layers

write `Linear(in_features, out_features)`
    Dense Affine FullyConnected Lin

write `RNN(input_size, hidden_size)`
    SimpleRNN VanillaRNN ElmanRNN Elman

write `LSTM(input_size, hidden_size)` or GRU or RNN, and `layer.stream()` for single steps
    LSTMCell GRUCell RNNCell SimpleRNNCell StackedRNNCells OptimizedLSTMCell CuDNNLSTM CuDNNGRU

write `LSTM(input_size, hidden_size, bidirectional=True)`
    Bidirectional bidirectional BiLSTM BiGRU BidirectionalLSTM Bidir

`Linear` and the other layers act on every time step by themselves
    TimeDistributed

`Seq2Seq` gives the summary of its encoder to each step of its decoder
    RepeatVector

pass `lengths=`, a number per sequence or a mask (T, N), to `forward`, `Batches` and losses
    Masking masking mask_value

write `Last()` for the last time step, or `MeanPool()` for the mean of all
    Flatten

leave it out: the first layer says the number of features, `LSTM(5, 16)`
    Input InputLayer

write `Embedding(num_embeddings, embedding_dim)`
    Embeddings EmbeddingBag

write `OneHot(num_classes)` as the first layer
    OneHotEncoder one_hot to_categorical

write `Attention(query_size, memory_size)`, the attention of a `Seq2Seq`
    MultiheadAttention MultiHeadAttention AdditiveAttention BahdanauAttention LuongAttention

write `LayerNorm(normalized_shape)`, or `LSTM(5, 16, layer_norm=True)` inside the cell
    BatchNorm1d BatchNorm BatchNormalization LayerNormalization GroupNorm RMSNorm

write `MeanPool()`, the mean over the valid steps
    GlobalAveragePooling1D AvgPool1d AdaptiveAvgPool1d AveragePooling1D MeanPooling

write `MaxPool()`
    GlobalMaxPooling1D MaxPool1d AdaptiveMaxPool1d MaxPooling1D

write `Last()`
    LastStep TakeLast SelectLast LastTimeStep ExtractLast

write `Dropout(0.5, per="sequence")`
    SpatialDropout1D VariationalDropout

write `Dropout(0.5)`
    AlphaDropout GaussianDropout GaussianNoise

`losses.softmax_cross_entropy` takes logits, so leave it out
    LogSoftmax log_softmax

write `Conv1d(in_channels, out_channels, kernel_size)`; with `padding='causal'` it streams
    Conv1D Conv CausalConv1d

leave it out: a layer more is not needed
    Identity

this package has recurrent layers only; a window of steps is `QRNN(5, 16, window=2)`
    Conv2d Transformer TransformerEncoder TransformerEncoderLayer PositionalEncoding
    ConvLSTM2D MaxPool2d

a layer of your own is a subclass of Layer: see `help(recurrent.layers.Layer)`
    Lambda Concatenate Add Reshape Permute Module Layer BaseLayer

write `Sequential(*layers)`, or a Python list of models
    ModuleList ModuleDict

write `Sequential(*layers)`, or `Seq2Seq(encoder, decoder)` for two of them
    Model Functional

write `Seq2Seq(encoder, decoder)`
    Encoder Decoder EncoderDecoder

write `LSTM(5, 16, peephole=True)`
    peephole PeepholeLSTM PeepholeLSTMCell

write `LSTM(5, 16, layer_norm=True)`
    LayerNormLSTM LayerNormLSTMCell LayerNormGRU

write `LSTM(5, 16, proj_size=8)`
    ProjectedLSTM LSTMP

the layers are names of recurrent itself: `from recurrent import LSTM, Linear, Sequential`
    nn layers Layers torch keras tf functional F rnn_layers

write `Recurrent('cfc', input_size, hidden_size)`: cells are given by name, see
`help(recurrent.cells)`
    CfC CFC LTC JANET Janet sLSTM SLSTM xLSTM PhasedLSTM NestedLSTM MultiplicativeLSTM mLSTM GRUD
    LiGRU FastGRNN EchoState ESN Reservoir MGU IndRNN SRU minGRU minLSTM

write `Softmax()` as the last layer, or `losses.softmax_cross_entropy` as the loss of logits
    softmax

# Losses

write `losses.softmax_cross_entropy`, a function of logits and class ids
    CrossEntropyLoss cross_entropy CrossEntropy crossentropy SparseCategoricalCrossentropy NLLLoss
    sparse_categorical_crossentropy categorical_crossentropy CategoricalCrossentropy nll_loss
    softmax_crossentropy SoftmaxCrossEntropy cross_entropy_loss CategoricalCrossEntropy log_loss
    sparse_softmax_cross_entropy softmax_cross_entropy_with_integer_labels nll
    softmax_cross_entropy_with_logits softmax_cross_entropy

write `losses.mean_squared_error`, a function
    MSELoss mse MSE mse_loss MeanSquaredError mean_squared_error l2_loss L2Loss squared_error
    squared_loss mean_square_error

write `losses.binary_cross_entropy`, a function of logits, so that no Sigmoid goes before it
    BCELoss BCEWithLogitsLoss binary_crossentropy BinaryCrossentropy bce BCE BinaryCrossEntropy
    binary_cross_entropy_with_logits bce_loss bce_with_logits sigmoid_binary_cross_entropy
    sigmoid_cross_entropy binary_cross_entropy

write `losses.mean_absolute_error`, a function
    L1Loss l1_loss MeanAbsoluteError mae MAE mean_absolute_error absolute_error l1

write `losses.huber`, a function
    HuberLoss Huber huber_loss SmoothL1Loss smooth_l1_loss smooth_l1 huber

write `losses.ctc`, a function of logits and of labels padded with -1
    CTCLoss ctc_loss CTC ctc_batch_cost sparse_ctc_loss

write `ctc_greedy_decode(y)` or `ctc_beam_search(y, beam=10)`
    ctc_decode ctc_decoder ctc_greedy_decoder ctc_beam_search_decoder CTCDecoder CTCBeamDecoder
    beam_search_decoder greedy_decode ctc_beam_decode

write `losses.crf`, a function of the output of the layer CRF and of the right tags
    crf_loss crf_log_likelihood CRFLoss crf_nll

write `viterbi_decode(y)`, of the output y of the layer CRF
    viterbi Viterbi crf_decode crf_viterbi_decode Layer.decode Layer.viterbi_decode
    Layer.viterbi_tags

write `Linear(in_features, num_tags), CRF(num_tags)` as the last layers of a model
    LinearChainCRF ConditionalRandomField ConditionalRandomFields

write `losses.quantile`
    QuantileLoss PinballLoss pinball pinball_loss quantile_loss

a loss is any function of y and targets that returns its value and the gradient dy
    KLDivLoss CosineEmbeddingLoss TripletMarginLoss PoissonNLLLoss GaussianNLLLoss hinge
    kl_divergence CosineSimilarity

# Optimisers and learning rates

the module is `optim`
    Optim optimizers optimizer optimisers optimiser

write `optim.RMSprop(lr)`
    RMSProp rmsprop

write `optim.Adam(lr)`
    adam

write `optim.AdamW(lr)`
    adamw

write `optim.SGD(lr, momentum=0.9, nesterov=True)`
    sgd Momentum GradientDescent Nesterov

write `optim.Adagrad(lr)`
    adagrad AdaGrad

the optimisers are `optim.SGD`, RMSprop, Adagrad, Adam and AdamW; a subclass of `optim.Optimizer`
makes your own from one rule
    Nadam NAdam Adamax Adadelta LBFGS Rprop RAdam Lion Lamb Ftrl Adafactor SparseAdam ASGD Shampoo
    nadam adamax adadelta rprop lion lamb

write `fit(..., clip_norm=1.0)`, or `optim.clip_norm(gradient, 1.0)` in a loop of your own
    clip_grad_norm_ clip_grad_norm clip_by_global_norm clipnorm global_clipnorm max_grad_norm
    gradient_clip gradient_clip_val grad_clip clip_grad clip_gradients gradient_clipping max_norm

write `fit(..., clip_value=1.0)`, or `optim.clip_value(gradient, 1.0)` in a loop of your own
    clip_grad_value_ clipvalue clip_by_value

write `schedules.StepDecay(lr, every, factor)`, counted in updates, and pass it as the rate
    StepLR MultiStepLR PiecewiseConstantDecay StepDecayLR step_decay

write `schedules.Exponential(lr, ...)`, counted in updates, and pass it as the rate
    ExponentialLR ExponentialDecay InverseTimeDecay exponential_decay

write `schedules.Cosine(lr, steps)`, counted in updates, and pass it as the rate
    CosineAnnealingLR CosineDecay CosineAnnealing CosineAnnealingWarmRestarts CosineSchedule
    cosine_decay CosineDecayRestarts CosineLR cosine_decay_schedule CosineScheduler

write `schedules.Cosine(lr, steps, warmup=100)`
    WarmupCosine LinearWarmup WarmUp Warmup LinearLR warmup_steps get_cosine_schedule_with_warmup
    warmup_cosine_decay_schedule LinearSchedule

write `schedules.OneCycle(...)`, passed as the rate
    OneCycleLR OneCycleScheduler one_cycle

write `schedules.ReduceOnPlateau(...)`, passed as the rate
    ReduceLROnPlateau ReduceOnPlateauLR reduce_lr_on_plateau

a schedule is any function from the number of the update to a rate: `Adam(lambda k: 1e-3)`
    LambdaLR LearningRateScheduler CyclicLR PolynomialDecay PolynomialLR

write `lr=`
    learning_rate_init eta lr0 base_lr alpha0 learning_rate max_lr initial_learning_rate peak_lr
    initial_lr

an optimiser takes no parameters, `fit` gives them to it: `Adam(1e-3)`
    params Optimizer()

write `betas=(0.9, 0.999)`
    beta_1 beta_2 beta1 beta2 b1 b2

write `eps=`
    epsilon

write `alpha=`, the decay rate of RMSprop
    rho

write `weight_decay=`, or pass a schedule as the rate
    decay

write `AdamW(1e-3, weight_decay=1e-2)`, or weight_decay of another optimiser
    kernel_regularizer l2 l1_l2 recurrent_regularizer regularizer bias_regularizer
    activity_regularizer weight_regularizer regularizers L2 weight_decay

let the loss return its value and its gradient with the other sign
    maximize

`fit(model, batches, loss, optimizer)` makes the updates; in a loop of your own write
`optimizer.update(model.flat, gradient)`
    apply_gradients minimize apply_updates Optimizer.step Optimizer.apply_gradients
    Optimizer.minimize step

leave it out: `model.backward` returns new gradients each time
    zero_grad Optimizer.zero_grad

write `fit(..., lr={'0.': 1e-4})`, a rate per beginning of names
    param_groups

write `optimizer.lr`
    get_lr get_last_lr

write `steps=`, counted in updates
    T_max decay_steps total_steps t_max Cosine(epochs) Cosine(total)

write `every=`, counted in updates
    step_size StepDecay(step) decay_every milestones

write `factor=`
    gamma decay_rate StepDecay(decay) Exponential(decay)

write `final=`
    eta_min min_lr end_lr final_lr

write `optimizer.rate`; `optimizer.lr` is what was given, a number or a schedule
    Optimizer.learning_rate Optimizer.get_lr Optimizer.get_last_lr

leave it out: the state is made by the first update; `recurrent.load` and `training.checkpoint`
keep it
    Optimizer.init Optimizer.initialize Optimizer.build Optimizer.state_dict Optimizer.state
    Optimizer.load_state_dict

write `optimizer.lr`, or `fit(..., lr={'0.': 1e-4})` for other rates of some layers
    Optimizer.param_groups Optimizer.add_param_group

# Data

write `data.Batches(x, y, 32)`; any sized iterable of pairs (x, y) serves too
    DataLoader Dataset TensorDataset Dataloader Loader dataset DataSet from_tensor_slices
    BatchLoader BatchIterator ArrayDataset SequenceDataset

write `data.SlidingWindows(x, steps, batch)`; `data.Windows(x, y, window)` cuts long streams
    TimeseriesGenerator timeseries_dataset_from_array sliding_window sliding_window_view
    make_windows create_sequences create_dataset SlidingWindow

write `data.pad_sequences(list)`; or pass the list of arrays (T_i, D), which is padded for you
    pad_sequence pack_padded_sequence pad_packed_sequence pack_sequence PackedSequence
    unpack_sequence pack

write `filled, present = data.fill_missing(x)`
    SimpleImputer fillna fill_na ffill interpolate nan_to_num

slice the arrays, sequences are axis 1: `x[:, :800], x[:, 800:]`
    train_test_split random_split validation_split

write `data.Scaler`
    StandardScaler MinMaxScaler Normalizer normalize RobustScaler

`CharLM` has the vocabulary of its text; other ids are integer arrays that you make
    Tokenizer TextVectorization StringLookup CountVectorizer Vocab build_vocab

`Batches(x, y, 32, rng=0)` shuffles; `rng=None` keeps the order
    shuffle

write `batch=`, the number of sequences of a batch
    batch_size batchsize bs n_batch

write `keep_last=False`
    drop_last drop_remainder

leave it out: arrays are in memory already
    num_workers pin_memory collate_fn prefetch

write `rng=0` where a model or batches are made
    seed random_state random_seed manual_seed set_seed set_random_seed PRNGKey key seed_everything

inputs are NumPy arrays: `np.asarray(a, np.float32)`
    from_numpy tensor Tensor as_tensor to_tensor array asarray Variable convert_to_tensor

write `json.dump(scaler.describe(), file)`
    Scaler.save Scaler.dump Scaler.to_json Scaler.get_params Scaler.state_dict

write `Scaler.build(json.load(file))`
    Scaler.load Scaler.from_json Scaler.set_params Scaler.load_state_dict

write `scaler.shift`
    Scaler.mean_ Scaler.mean Scaler.mu Scaler.center_ Scaler.data_min_ Scaler.min_

write `scaler.scale`
    Scaler.scale_ Scaler.std Scaler.std_ Scaler.var_ Scaler.sigma Scaler.data_range_

slice the arrays: steps are axis 0, as in `series[:800]`, sequences of a batch axis 1
    TimeSeriesSplit KFold

write `ahead=`: 6 is the sixth step alone, range(1, 7) are all six
    SlidingWindows(horizon) SlidingWindows(forecast_horizon) SlidingWindows(n_ahead)
    SlidingWindows(prediction_length) SlidingWindows(offset) SlidingWindows(delay)

write `steps=`
    SlidingWindows(window) SlidingWindows(window_size) SlidingWindows(length)
    SlidingWindows(lookback) SlidingWindows(look_back) SlidingWindows(sequence_length)
    SlidingWindows(seq_len) SlidingWindows(size)

# Training

the module is `schedules`; a schedule takes the place of the rate: `Adam(Cosine(1e-3, 1000))`
    LRScheduler lr_schedules LearningRateSchedule scheduler schedule lr_schedule lr_scheduler
    fit(scheduler)

write `fit(model, batches, loss, Adam(1e-3), epochs=10)`
    train Trainer trainer fit_model train_model Learner fit_generator

leave it out: everything is compiled and runs on the CPU
    device cuda gpu use_gpu is_available to_device jit compile

write `fit(..., validation=batches)`
    validation_data val_data valid_data eval_set val validation_set dev valid val_batches
    eval_data val_loader valid_loader test_data

write `epochs=`
    n_epochs num_epochs nb_epoch max_epochs max_iter n_iter iterations

write `updates=`
    steps_per_epoch num_steps steps max_steps num_updates

write `progress=True` or `progress=False`
    verbose

write `callback=function`, called as function(update, history)
    on_epoch_end Callback callbacks

write `metrics=metrics.accuracy`, or a list of metrics
    metric scorers scoring eval_metric

the fourth argument is `optimizer`
    opt

the third argument is `loss`, a function
    criterion loss_fn loss_function objective cost

write `fit(..., validation=batches, patience=5)`; the best parameters are kept
    EarlyStopping early_stopping early_stop n_iter_no_change early_stopping_rounds

write `keep_best=True`
    restore_best_weights save_best_only load_best_model_at_end

write `model.save(path)`; `training.checkpoint.save` keeps the state of the training as well
    ModelCheckpoint checkpoint save_weights save_model dump checkpoint_path checkpoint_dir

`model.forward(x)` keeps no tape; with `record=True` it returns one, for `model.backward(dy,
tape)`
    no_grad inference_mode grad value_and_grad autograd backward GradientTape requires_grad
    stop_gradient enable_grad

write `look_back=`
    bptt tbptt truncate bptt_steps k2 tbptt_steps truncated_bptt_steps

the first layer says the number of features: `LSTM(5, 16)`
    batch_input_shape input_shape

give `weight=` to the loss: see `help(recurrent.losses)`
    class_weight class_weights

give weights to the loss: see `help(recurrent.losses)`
    sample_weight sample_weights

write `recurrent.set_num_threads(2)`
    set_threads num_threads n_threads set_num_interop_threads intra_op_num_threads n_jobs

pictures are in the package viz: `help(viz)`
    plot_model draw plot visualize make_dot

write `Sequential(LSTM(5, 16), Last(), Linear(16, 3))` and `fit` with a loss
    LSTMClassifier RNNClassifier LSTMRegressor MLPClassifier RNNRegressor GRUClassifier

write a loop over `fit(model, batches, loss)`
    Pipeline make_pipeline GridSearchCV cross_val_score

write `recurrent.__version__`
    __version__ version

the batches have it: `fit(model, Batches(x, y, 32), ...)`
    fit(batch_size) fit(shuffle) fit(batch)

write `from recurrent.training.logs import CSVLog, TensorBoardLog` and `fit(...,
callback=CSVLog(path))`
    CSVLogger CSVLog TensorBoardLog TensorBoard TensorBoardLogger SummaryWriter

write `sequence=`, the number of the sequence in the batch
    explore(n)

write `viz.curve(history)`
    plot_history plot_loss learning_curve

# Metrics

write `metrics.accuracy`
    Accuracy accuracy_score CategoricalAccuracy SparseCategoricalAccuracy BinaryAccuracy acc
    categorical_accuracy sparse_categorical_accuracy accuracy

write `metrics.macro_f1`
    f1_score F1Score f1 F1 fbeta_score precision_score recall_score Precision Recall precision
    recall classification_report macro_f1_score

write `metrics.confusion_matrix`
    ConfusionMatrix confusion

write `metrics.root_mean_squared_error`
    RootMeanSquaredError rmse rmse_score RMSE

a metric is any function of y and targets: see `help(recurrent.metrics)`
    r2_score r2 AUC roc_auc_score roc_auc perplexity Perplexity TopKCategoricalAccuracy

# Estimators of recurrent.sklearn

write `max_epochs=`
    BaseEstimator(epochs) BaseEstimator(n_epochs) BaseEstimator(num_epochs)
    BaseEstimator(max_iter) BaseEstimator(max_steps) BaseEstimator(iterations)
    BaseEstimator(train_epochs)

write `hidden_size=`
    BaseEstimator(hidden) BaseEstimator(units) BaseEstimator(hidden_dim) BaseEstimator(n_hidden)
    BaseEstimator(num_units) BaseEstimator(hidden_units) BaseEstimator(hidden_layer_sizes)

write `num_layers=`
    BaseEstimator(layers) BaseEstimator(n_layers) BaseEstimator(n_rnn_layers)
    BaseEstimator(encoder_n_layers) BaseEstimator(depth)

write `cell=`
    BaseEstimator(rnn_type) BaseEstimator(cell_type) BaseEstimator(rnn_cell) BaseEstimator(model)
    BaseEstimator(rnn)

write `lr=`
    BaseEstimator(learning_rate) BaseEstimator(learning_rate_init)

write `random_state=`
    BaseEstimator(seed) BaseEstimator(rng) BaseEstimator(random_seed)

write `n_iter_no_change=`
    BaseEstimator(patience) BaseEstimator(early_stop_patience_steps)

write `verbose=`
    BaseEstimator(progress)

write `horizon=`
    RecurrentForecaster(h) RecurrentForecaster(fh) RecurrentForecaster(output_chunk_length)
    RecurrentForecaster(prediction_length) RecurrentForecaster(forecast_horizon)
    RecurrentForecaster(n_ahead) RecurrentForecaster(steps)

write `window=`
    RecurrentForecaster(input_size) RecurrentForecaster(input_chunk_length)
    RecurrentForecaster(context_length) RecurrentForecaster(lookback) RecurrentForecaster(seq_len)
    RecurrentForecaster(n_lags)

write `lags=`, the number of steps of a season
    RecurrentForecaster(season) RecurrentForecaster(season_length)
    RecurrentForecaster(seasonality) RecurrentForecaster(sp) RecurrentForecaster(m)

write `scale=`
    RecurrentForecaster(scaler) RecurrentForecaster(scaler_type)
    RecurrentForecaster(local_scaler_type)

leave it out: the dates of y say it
    RecurrentForecaster(freq) RecurrentForecaster(frequency)

columns of X are known ahead unless `past_only=` names them
    RecurrentForecaster(futr_exog_list) RecurrentForecaster(hist_exog_list)
    RecurrentForecaster(past_covariates) RecurrentForecaster(future_covariates)
    RecurrentForecaster(lags_past_covariates)

# Models, files and character models

write `fit(model, Batches(x, y, 32), losses.mean_squared_error, Adam(1e-3), epochs=10)`
    Model.fit Model.compile Model.train_on_batch Model.partial_fit Model.optimizer Model.loss
    Model.criterion Model.configure_optimizers

a model has no modes: dropout acts in `fit` and in `model.forward(x, record=True)`
    Model.train Model.eval Model.training Model.requires_grad_ Model.requires_grad

write `evaluate(model, batches, loss)`
    Model.evaluate Model.score Model.test

write `recurrent.predict(model, x)`, or `model(x)` for one array
    Model.predict Model.predict_on_batch Model.transform Model.predict_step Model.inference
    Model.infer

`model.parameters` is a dict of arrays by name, `model.flat` all of them in one vector
    Model.state_dict Model.get_weights Model.weights Model.variables Model.trainable_variables
    Model.trainable_weights Model.named_parameters Model.params Model.coefs_
    Model.trainable_parameters Model.get_parameters Model.parameter_dict Model.weight

write `model.parameters.update(state_dict)`
    Model.load_state_dict Model.set_weights Model.set_params Model.set_parameters

write `model.save(path)`
    Model.save_weights Model.to_file Model.dump Model.export Model.save_pretrained
    Model.save_model save

write `model = recurrent.load(path)`
    Model.load_weights Model.load Model.from_pretrained Model.restore load_model load_state_dict
    restore from_pretrained load_weights

write `model.size`
    Model.count_params Model.num_parameters Model.n_params Model.num_params Model.n_parameters

give all layers at once: `Sequential(LSTM(5, 16), Linear(16, 1))`
    Model.add Model.append Model.add_module Model.extend Model.insert Model.pop

`model.layers` is the list of layers, `model[0]` the first
    Model.children Model.modules Model.named_modules Model.named_children Model.get_layer
    Model.steps

without a state `model.forward(x)` starts from zeros; it returns the final state, which
`model.forward(x, state)` or a stream takes up
    Model.reset_states Model.reset_state Model.init_hidden Model.initial_state Model.begin_state
    Model.init_state Model.zero_state Model.hidden Model.reset_hidden Model.hidden_state
    Model.get_initial_state

write `stream = model.stream()`, then `y = stream.step(x_t)`
    Model.step Model.predict_next Model.forward_step Model.online Model.update

write `model.initialise(rng=0)`
    Model.init Model.reset_parameters Model.initialize Model.apply Model.reset Model.init_weights

`model.backward(dy, tape)` returns the gradients by name, `fit` makes the whole training
    Model.zero_grad Model.grad Model.gradients Model.gradient Model.get_gradients

pictures are in the package viz: `import viz; help(viz)`
    Model.plot Model.plot_model Model.draw Model.visualize Model.show

write `Sequential(..., dtype="float64")`
    Model.double Model.float Model.half Model.astype

`fit` returns the history: `history = fit(model, ...)`
    Model.history Model.callbacks History HistoryCallback

leave it out: everything runs on the CPU
    Model.to Model.cuda Model.cpu Model.device

write `model.summary()`
    Model.input_shape Model.output_shape Model.get_config summary

write `copy.deepcopy(model)`
    Model.clone Model.deepcopy

write `x=`
    predict(X) predict(inputs) predict(input) predict(sequences) predict(data)

write `path=`
    load(file) load(filename) load(filepath) load(f)

the layers of a character model are a Sequential, `lm.model`
    CharLM.summary CharLM.parameters CharLM.layers CharLM.flat CharLM.forward CharLM.stream
    CharLM.state_dict CharLM.predict CharLM.size CharLM.record CharLM.trainable CharLM.net

write `layers=`
    CharLM(n_layers) CharLM(num_layers) CharLM(depth)

write `hidden=`
    CharLM(hidden_size) CharLM(units) CharLM(size_hidden) CharLM(n_hidden) CharLM(hidden_dim)

write `embedding=`, 0 for one-hot vectors
    CharLM(embedding_dim) CharLM(embedding_size) CharLM(embed_dim) CharLM(emb)

write `lm.train(text)`
    CharLM.fit CharLM.learn CharLM.partial_fit

write `lm.bits_per_character(text)`
    CharLM.evaluate CharLM.perplexity CharLM.score CharLM.loss CharLM.bpc

write `lm.ids(text)`; `lm.vocabulary` turns ids into text again
    CharLM.encode CharLM.tokenize CharLM.decode CharLM.vocab CharLM.tokenizer CharLM.stoi

write `recurrent.predict(model, x)` and a `Softmax()` as the last layer, or after it
    Model.predict_proba

leave it out: layers and parameters have numbers, as in '0.weight_ih_l0'
    Sequential(name) Model(name) Sequential(layers_name)

`CharLM` samples text, `Seq2Seq` generates sequences; step by step write `model.stream()`
    Model.generate Model.sample Model.decode

write `model.trainable = False`, `layer.trainable = False` or `fit(..., freeze=['0.'])`
    Model.freeze Model.frozen_layers Model.unfreeze

# Initial values

the module is `initialisers`; a model takes one by name: `Sequential(..., init='keras')`
    init initializers inits initialisation initialization

write `Sequential(..., init='keras')` for Glorot's, `init='orthogonal'`, or a function of your
own: see `help(recurrent.initialisers)`
    xavier_uniform_ xavier_normal_ glorot_uniform GlorotUniform xavier xavier_uniform
    glorot_normal kaiming_uniform_ kaiming_normal_ he_normal he_uniform HeNormal HeUniform
    lecun_normal Glorot normal_ uniform_ zeros_ ones_ constant_ RandomNormal RandomUniform Zeros
    Ones TruncatedNormal trunc_normal_ variance_scaling VarianceScaling xavier_normal
    kaiming_uniform kaiming_normal GlorotNormal zeros ones normal uniform random_normal constant
    eye_ identity Orthogonal orthogonal_

the model initialises its layers: `Sequential(..., init='keras')`
    kernel_initializer recurrent_initializer bias_initializer embeddings_initializer kernel_init
    unit_forget_bias weight_init initializer bias_init

# Options of layers

write `hidden_size=` in a recurrent layer, `out_features=` in Linear
    units hidden_dim n_hidden num_units hidden_units dim_h n_units num_hidden features

write `input_size=` in a recurrent layer, `in_features=` in Linear
    input_dim n_in input_features in_dim n_features num_features in_size n_inputs

write `out_features=` in Linear; a recurrent layer has hidden_size outputs
    output_dim n_out out_dim output_features output_size out_size n_outputs

write `num_embeddings=`
    Embedding(input_dim) Embedding(vocab_size) Embedding(num_embedding) Embedding(n_tokens)
    Embedding(vocabulary_size)

write `embedding_dim=`
    Embedding(output_dim) Embedding(embed_dim) Embedding(dim) Embedding(embedding_size)
    Embedding(emb_dim)

pass `lengths=` to `forward` and to `Batches`
    mask_zero

leave it out: any number of time steps may come
    input_length sequence_length seq_len seq_length timesteps time_steps unroll time_major max_len

write `bias=False` in Linear; `biases=0` in a recurrent layer
    use_bias

write `biases=0`, 1 or 2: the number of bias vectors per gate
    bias

stack layers in a model: `Sequential(LSTM(5, 16), LSTM(16, 16))`
    num_layers n_layers num_stacked depth Recurrent()

write `Sequential(..., batch_first=True)`; without it time is the first axis
    batch_first

write `Dropout(0.5)` between layers, and `recurrent_dropout=0.5` inside a recurrent one
    dropout dropout_rate

write `p=`
    rate prob dropout_prob keep_prob drop_prob drop_rate p_drop

leave it out: y is always a new array
    inplace

y has all steps; add `Last()` to take the last one
    return_sequences

`forward` always returns the final state: `y, state, tape = model.forward(x)`
    return_state

pass the state that a call returns to the next one, or use `model.stream()`
    stateful

write `reverse=True`, a layer that runs from the last step to the first
    go_backwards

write `nonlinearity='relu'` in RNN, `activations=(...)` in LSTM and GRU, a layer such as `Tanh()`
after Linear
    activation

write `activations=(...)`
    recurrent_activation gate_activation inner_activation

write `zoneout=0.1`
    zoneout_rate

leave it out
    implementation

write `merge='sum'`, 'concat', 'mul' or 'average'
    merge_mode

write `state=`
    hx h0 h_0 hidden initial_state init_state state0 initial_states prev_state hidden_state carry

write `record=True`
    return_tape save_tape keep_tape cache

write `lengths=`, which takes a mask (T, N) too
    mask

write `lengths=`
    sequence_lengths seq_lengths seq_lens lens input_lengths

write `proj_size=`
    projection

write a layer after it: `Sequential(Linear(16, 1), Sigmoid())`
    Linear(activation) Embedding(activation)

write `Embedding.from_pretrained(matrix)`
    Embedding(weights) Embedding(weight) Embedding(pretrained) Embedding(embeddings)
    Embedding(matrix)

write `Sequential(..., tie={'2.weight': '0.weight'})`
    tie_weights tied weight_tying tie_embeddings share_weights

# Attributes of layers, streams and histories

the model has the dtype: `Sequential(..., dtype="float64")`
    Layer(dtype)

write `layer.trainable = False` once the model is made
    Layer(trainable)

the model has it: `Sequential(..., rng=0)`
    Layer(rng) Layer(seed) Layer(init)

`layer.parameters` is a dict of arrays by name
    Layer.weight Layer.kernel Layer.W Layer.get_weights Layer.weights Layer.state_dict
    Layer.weight_ih_l0 Layer.weight_hh_l0 Layer.bias_ih_l0 Layer.bias_hh_l0 Layer.bias
    Layer.recurrent_kernel Layer.named_parameters Layer.W_ih Layer.W_hh Layer.coef_

write `layer.parameters.update(arrays)`
    Layer.set_weights Layer.load_state_dict

`layer.options` is the dict of its options: `layer.options['hidden_size']`
    Layer.hidden_size Layer.units Layer.input_size Layer.num_layers Layer.proj_size
    Layer.get_config Layer.config

write `layer.trainable = False`
    Layer.requires_grad Layer.requires_grad_ Layer.freeze Layer.frozen

write `layer.out_features`
    Layer.output_shape Layer.output_size Layer.output_dim

a layer keeps no state: `forward` takes one and returns the final one
    Layer.states Layer.reset_states Layer.hidden Layer.initial_state Layer.h Layer.init_hidden

leave it out
    Layer.flatten_parameters Layer.build Layer.to Layer.cuda Layer.eval Layer.train

write `layer.size`
    Layer.count_params Layer.numel

write `layer.stream().step(x_t)`
    Layer.step

a layer has a number, its place in the model: `model.where(0)`
    Layer.name

`layer.options` is the dict of its options
    Layer.activation Layer.nonlinearity

write `model.record(x)`, which keeps each gate, state and output
    Layer.output Layer.activations Layer.hidden_states Layer.gates

write `y_t = stream.step(x_t)`
    Stream.predict Stream.forward Stream.update Stream.push Stream.send Stream.next Stream.run
    Stream.feed

write `stream.reset()`
    Stream.reset_states Stream.reset_state Stream.clear Stream.restart

write `stream.state`, one entry per layer
    Stream.hidden Stream.h Stream.states Stream.hidden_state Stream.get_state Stream.hx

leave it out: a stream holds nothing but arrays
    Stream.close Stream.stop

write `history.losses`, a loss per update
    History.history History.loss History.train_loss History.loss_curve_ History.training_loss

write `history.validation`
    History.val_loss History.validation_loss History.val_losses History.valid_loss
    History.validations

write `history.updates`
    History.epoch History.epochs History.n_iter_

pictures of a training are in the package viz: `help(viz)`
    History.plot History.show

write `history.to_frame()`
    History.to_pandas History.to_csv History.df History.dataframe

`fit` changes the model that it is given
    History.params History.model

layers are numbered: `model[0]`, and '0.' begins the names of its arrays
    Layer(name) Layer(label)
"""


@cache
def answers() -> dict[str, str]:
    """Return the answer to each name of the table."""
    found = {}
    for paragraph in TABLE.strip().split("\n\n"):
        lines = [line for line in paragraph.split("\n") if not line.startswith("#")]
        answer = " ".join(line for line in lines if not line.startswith(" "))
        for name in " ".join(line for line in lines if line.startswith(" ")).split():
            found[name] = answer
    return found


def answer(name: Any, *keys: str) -> str:
    """Return "; " and the answer to a name, or an empty str.

    Parameters
    ----------
    name : Any
        Name or option that does not exist here; without answer if it is no str.
    *keys : str
        Keys of the table that go before the name alone.
    """
    if not isinstance(name, str):
        return ""
    known, keys = answers(), (*keys, name)
    return next((f"; {known[key]}" for key in keys if key in known), "")
