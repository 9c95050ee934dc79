"""
Words of a text without spaces
==============================

Chinese is written without spaces between words. What the words of a text are can be read from the
text alone: no dictionary, no labels, only which characters stand beside which.
"""

# %%
# A text
# ------
# A short essay in Chinese on what auto-encoders do. A computer sees some two thousand characters;
# punctuation marks and the ends of paragraphs are all that is told of boundaries.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline

from skrae.text import PhraseVocabulary

TEXT = """
自编码器是一种神经网络。它先把数据压缩成很短的编码，再用编码重建数据。压缩的部分叫编码器，重建的部分
叫解码器。训练自编码器的时候，我们不需要标签，只要求重建误差尽可能小。因此人们常说，自编码器是一种无
监督学习的方法。

为什么要先压缩再重建呢？如果编码和数据一样长，神经网络只要照抄就行了，重建误差等于零，却什么也没有学
到。编码变短以后，编码器必须决定哪些信息值得保留，哪些信息可以丢掉。好的编码保留数据的主要结构，丢掉的
大多是噪声。所以，压缩不是目的，学到结构才是目的。

最简单的自编码器只有一层，而且没有非线性。这时候它找到的平面就是主成分分析的平面：编码是数据在平面
上的投影，重建误差就是剩下的方差。主成分分析有精确的解，不必训练神经网络。但是现实中的数据往往不在平面
上，而在弯曲的曲面上。这时候，非线性的编码器能用同样短的编码得到更小的重建误差。

还有一种办法是在数据里加噪声。我们把噪声加到图像上，再要求自编码器重建没有噪声的图像，这就是去噪自编码
器。要去掉噪声，神经网络必须知道图像应该是什么样子，也就是说，它必须知道数据的概率密度在哪里高，在哪里
低。理论告诉我们，噪声很小的时候，重建的结果减去输入，正好与概率密度的对数的梯度成正比。换句话说，去噪
自编码器学到的是概率密度上升的方向。

稀疏自编码器走的是另一条路。它的编码可以很长，但是每一次只有少数单元不为零。每个单元学到图像的一个局部，
例如一段笔画或者一条边缘。稀疏的编码容易解释，也方便线性分类器使用。不过要记住，稀疏的程度由权重决定：权
重太小，编码并不稀疏；权重太大，重建误差又会变得很大。

收缩自编码器惩罚的是编码器的导数。输入有微小的变化，编码不应该跟着剧烈变化。导数的惩罚和重建误差互相竞
争：没有惩罚，编码器对什么都敏感；只有惩罚，编码器对什么都不敏感。两者平衡的结果是，编码器只对沿着曲面的
变化敏感，对垂直于曲面的变化不敏感。

有人问，自编码器能不能保持距离？普通的自编码器不能。两个相似的图像，编码可能离得很远；两个不相似的图像，
编码也可能靠得很近。要保持距离，就得在训练时加上距离的惩罚，要求编码之间的距离等于数据之间的距离。如果数
据在弯曲的曲面上，还要用沿着曲面的距离，而不是直线的距离。即使这样，维数减少以后，也不可能保持所有的距
离。

怎样选择权重呢？很多人用交叉验证选择重建误差最小的模型。这样做有一个陷阱：惩罚越大，重建误差就越大，所以
交叉验证总是选择没有惩罚的模型。正确的做法是先想清楚编码有什么用处。如果编码要交给分类器，就用分类器的准
确率选择权重；如果编码要用来画图，就看邻居是否保持；如果要检索相似的图像，就看检索的结果。

图像检索是编码的一个好用处。一张图像有几千个像素，直接比较像素又慢又不准确。先用编码器把图像变成十几个数
字，再比较数字之间的距离，检索就快得多。检索的结果常常比直接比较像素还要好，因为编码丢掉了噪声，保留了结
构。

异常检测却是一个容易让人失望的用处。很多人认为，异常的数据重建误差大，正常的数据重建误差小，于是用重建误
差来做异常检测。其实解码器常常也能重建从来没有见过的数据，异常检测的准确率并不高。想要可靠的异常检测，应该
估计概率密度，而不是只看重建误差。

生成新的数据也是一个用处。从编码的概率密度里抽样，再用解码器把编码变成图像，就得到新的图像。这要求编码的
概率密度足够简单。可以用熵来要求它：在方差一定的时候，正态分布的熵最大，所以熵越大，编码的分布就越接近正态
分布。熵大的编码容易抽样，也不会浪费任何单元。

熵还可以用来发现词语。中文的词语之间没有空格，计算机不知道哪里是词语的边界。如果一个字符串是词语，它的左边
和右边就可以出现很多不同的字，左边的熵和右边的熵都大。如果一个字符串只是词语的一半，它的右边几乎总是同一个
字，右边的熵就接近零。除了看边界的熵，还要看内部是否牢固：把字符串切成两半，如果两半一起出现的次数比偶然多
得多，它就是牢固的。边界自由，内部牢固，这样的字符串多半就是词语。

最后说说训练。神经网络的训练从随机的权重开始，每一步沿着梯度走一小步。走得太快，误差会忽高忽低；走得太慢，
训练要花很长时间。训练的时候应该留出一部分数据，不参加训练，只用来检查误差。如果留出的数据误差不再下降，就应
该停止训练。这样得到的神经网络，对没有见过的数据也有很好的效果。
"""
paragraphs = [paragraph.replace("\n", "") for paragraph in TEXT.strip().split("\n\n")]
print(f"{len(paragraphs)} paragraphs, {sum(map(len, paragraphs))} characters")

# %%
# Words found
# -----------
# A word is free at its borders: much can stand on its left and on its right, so that the entropies
# of both neighbours are large. And it holds together: even at its weakest split, its parts are side
# by side far more often than chance has it. `PhraseVocabulary` adds the lesser of the entropies and
# half of this cohesion. In a text as short as this, four occurrences have to do.
words = PhraseVocabulary(min_count=4, max_features=None).fit(paragraphs)
phrases = words.get_feature_names_out()
entropy = np.minimum(words.left_entropy_, words.right_entropy_)

GLOSSES = {
    "训练": "train", "神经网络": "neural network", "噪声": "noise", "应该": "should",
    "重建误差": "reconstruction error", "什么": "what", "压缩": "compress", "数据": "data",
    "异常检测": "anomaly detection", "自编码器": "auto-encoder", "没有": "not have",
    "敏感": "sensitive", "稀疏": "sparse", "选择": "choose", "如果": "if", "图像": "image",
    "惩罚": "penalty", "编码": "code", "学到": "learn", "检索": "retrieve", "保持": "keep",
    "概率密度": "probability density", "字符串": "string", "词语": "word", "权重": "weight",
    "用处": "use", "右边": "right side", "这样": "so", "可以": "can", "要求": "require",
    "可能": "possible", "之间": "between", "一个": "one", "距离": "distance", "曲面": "surface",
    "时候": "time", "重建": "reconstruct", "编码器": "encoder", "变化": "change", "就是": "namely",
    "误差": "error", "异常": "anomaly", "神经": "nerve", "网络": "network", "结果": "result",
    "概率": "probability", "密度": "density", "字符": "character", "检测": "detect",
    "平面": "plane",
}  # fmt: skip
print("score   left  right   cohesion   times   phrase")
for i in range(20):
    left, right = words.left_entropy_[i], words.right_entropy_[i]
    figures = f"{words.scores_[i]:5.2f}  {left:5.2f}  {right:5.2f}  {words.cohesion_[i]:9.2f}"
    print(f"{figures}  {words.counts_[i]:6d}   {phrases[i]}  {GLOSSES.get(phrases[i], '-')}")

# %%
# All twenty are words, of two to four characters, technical terms among them that no dictionary
# needs to have. Frequency finds the most common ones too, but among pieces of words, such as 码器,
# the last two characters of "encoder".
most = np.argsort(-words.counts_, kind="stable")[:20]
print("the most frequent:", " ".join(phrases[most]))

# %%
# Why a sum
# ---------
# The left panel shows all strings of 2 to 6 characters that occur four times or more, some of them
# with their meaning, since not every machine has a font for Chinese. Pieces of words hold together
# but have a side on which one character always follows (left edge); words with a particle, such as
# "of the data", are free on both sides but hold together much less (below). Words are where both
# are large, above the line, along which scores are equal. The right panel counts the words, those
# of the list above, among the first phrases of each ranking.
is_word = np.array([phrase in GLOSSES for phrase in phrases])
TOLD = "训练", "神经网络", "重建误差", "自编码器", "图像", "编码", "编码器", "概率密度", "就是"
NO_WORDS = {"码器": "[en]coder", "重建误": "reconstruction er[ror]", "自编": "auto-en[coder]"}
NO_WORDS |= {"的数据": "of the data", "的时候": "at the time of", "的编码": "the code of"}
meanings = {phrase: GLOSSES[phrase] for phrase in TOLD} | NO_WORDS
rankings = {
    "entropy + cohesion / 2": words.scores_,
    "cohesion": words.cohesion_,
    "entropy": entropy,
    "frequency": words.counts_,
}
figure, (plane, curve) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for chosen, color, name in ((~is_word, "0.6", "no word"), (is_word, "#1f5f8b", "word")):
    plane.scatter(entropy[chosen], words.cohesion_[chosen], s=18, color=color, label=name)
for phrase, meaning in meanings.items():
    point = entropy[words.vocabulary_[phrase]], words.cohesion_[words.vocabulary_[phrase]]
    aside = (-50, -12) if phrase == "自编码器" else (3, 3)  # another stands where it would be
    plane.annotate(meaning, point, aside, textcoords="offset points", fontsize=8)
edge = words.scores_[is_word.sum() - 1]
plane.axline((edge, 0.0), slope=-2.0, color="#d1602f", linewidth=1)
plane.set(xlabel="lesser branching entropy (nats)", ylabel="cohesion (nats)", xlim=(-0.15, 3.2))
plane.legend(loc="center right")
for name, values in rankings.items():
    order = np.argsort(-values, kind="stable")
    curve.plot(np.arange(1, order.size + 1), np.cumsum(is_word[order]), label=name)
curve.plot([0, is_word.sum()], [0, is_word.sum()], color="0.8", linestyle="--", zorder=0)
curve.set(xlabel="phrases taken", ylabel="words among them")
curve.legend(loc="lower right")
plt.show()

# %%
# Some words are not told from pieces: this text has them only within longer ones, as 神经 and 网络
# are in "neural network". Nothing in it says that they can stand alone; more text would.
print("words with an entropy of 0:", " ".join(phrases[is_word & (entropy == 0.0)]))

# %%
# Words as features
# -----------------
# `transform` counts the phrases, as `CountVectorizer` does where spaces mark the words. So the
# paragraphs can be searched: each question gets the one with the most similar counts.
search = make_pipeline(PhraseVocabulary(min_count=4, max_features=40), TfidfTransformer())
index = search.fit_transform(paragraphs)
questions = {
    "惩罚的权重怎样选择？": "How is the weight of a penalty chosen?",
    "怎样检索相似的图像？": "How are similar images retrieved?",
    "怎样找到中文的词语？": "How are the words of Chinese found?",
}
for question, meaning in questions.items():
    likeness = (index @ search.transform([question]).T).toarray().ravel()
    best = likeness.argmax()
    print(f"{meaning} {question}")
    print(f"  paragraph {best + 1}, cosine {likeness[best]:.2f}: {paragraphs[best][:24]} ...")
