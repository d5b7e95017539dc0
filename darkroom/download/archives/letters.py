"""The letters of languages beyond ASCII, each in order of frequency, with the code pages that these languages use."""

from typing import NamedTuple


class Script(NamedTuple):
    """Letters with their rank, and how they stand in words."""

    rank: dict[str, int]
    latin: bool = False  # its words have ASCII letters as well
    wide: bool = False  # most characters have two bytes


WEST = ["cp437", "cp850", "cp1252"]
CENTRAL = ["cp852", "cp1250"]
CYRILLIC = ["cp866", "cp1251"]
LATIN = {
    "äüöß": WEST,  # German
    "éèàêçôâîûùœïëü": WEST,  # French
    "óíáñéúü": WEST,  # Spanish
    "ãçáéíóõêúâôà": WEST,  # Portuguese
    "åøæéö": WEST,  # Danish, Norwegian
    "äåöé": WEST,  # Swedish, Finnish
    "àèùòìé": WEST,  # Italian
    "łąęóżśćńź": CENTRAL,  # Polish
    "íáěéžýšřčůúňťďóľĺŕäô": CENTRAL,  # Czech, Slovak
    "áéőöíóüúű": CENTRAL,  # Hungarian
    "ăîâșțşţ": CENTRAL,  # Romanian
    "čšžćđ": CENTRAL,  # Croatian, Slovene
    "ıüşçğöİâ": ["cp857", "cp1254"],  # Turkish
}
OTHERS = {
    "оаиентрсвлкмдпыугзябйьчхжшцюфщэъё": CYRILLIC,  # Russian
    "оаіинтервлксдумпязйьгбчхїцжєшфщюґ": CYRILLIC,  # Ukrainian
    "аоиетнрсвлкдпмзгъяубчцжйщхшюфь": CYRILLIC,  # Bulgarian
    "αοτιερνσςκπλμυίάόήέηδγχθύβώφωζξψϊϋ": ["cp737", "cp1253"],  # Greek
    "יוהלרבתמאשנעםדקחפסכגטצןזךץף": ["cp862", "cp1255"],  # Hebrew
    "اليمونرتبةعدسفهكقأحجشطصىخإضذثئغزظؤآء": ["cp1256"],  # Arabic
    "านรอกเงมยลวดทสตะปบคหแจพชขใี่้ัิ์ุู็ผฟโไำณธศซ": ["cp874"],  # Thai
}
WIDE = {
    "cp932": (
        "ーのンスイルラトリクアいたしなかドシレジタフロカテマはにるとてがれらさこウバムコニオあまうよくきんめおけ"
        "そつだわちみせグプデメサビりナブャエュチキズダパミェョハモっ日年本写真画像新人大中国一二三東京山車花犬猫"
        "表裏正常良品不春夏秋冬赤青白黒駅城寺光風水木金土火月上下左右前後小学校生物動植鳥魚果野菜牛馬ねむろほげべ"
        "ひゅやゆばもじゃへびずえどをごぶぽぎぱぴセソベガヴネツボノァケゴギザホゲヨユヤヌワォヒポペピゼゾ男女子店"
        "食飲海空川田村町屋家道図用工場検査外内部分類名"
    ),  # Japanese
    "gbk": (
        "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心"
        "多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分"
        "将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因"
        "重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书"
        "比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今"
        "京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六"
        "功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即"
        "求品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研像找友孩"
        "站广改议形委早房音火际则首单据导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏兴型克响苹蕉"
        "葡萄图夹截屏微测试训练集垃圾类猫狗缺陷病害健康叶玫瑰牡丹熊虎鸟鱼汽船树草男照素材"
    ),  # simplified Chinese
    "big5": (
        "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可里後小麼心"
        "多天而能好都然沒日於起還發成事只作當想看文無開手十用主行方又如前所本見經頭面公同三已老從動兩長知民樣現分"
        "將外但身些與高意進把法此實回二理美點月明其種聲全工己話兒者向情部正名定女問力機給等幾很業最間新什打便位因"
        "重被走電四第門相次東政海口使教西再平真聽世氣信北少關並內加化由卻代軍產入先山五太水萬市眼體別處總才場師書"
        "比住員九笑性通目華報立馬命張活難神數件安表原車白應路期叫死常提感金何更反合放做系計或司利受光王果親界及今"
        "京務制解各任至清物台象記邊共風戰干接它許八特覺望直服毛林題建南度統色字請交愛讓認算論百吃義科怎元社術結六"
        "功指思非流每青管夫連遠資隊跟帶花快條院變聯言權往展該領傳近留紅治決周保達辦運武半候七必城父強步完革深區即"
        "求品士轉量空眾技輕程告江語英基派滿式李息寫識極令黃德收錢黨未持取設始版雙歷越史商千片容研像找友孩站廣改議"
        "形委早房音火際則首單據導影失網香專石校讀志飛觀爭究包組造落視離壞興型蘋蕉葡萄圖夾截螢幕擷畫料照健康病害葉"
        "鳥類貓狗蝦瑕疵測試訓練集汽船樹草男玫瑰牡丹熊虎魚"
    ),  # traditional Chinese
    "cp949": (
        "이다의는에가을고하지한서기은사로대자리어인시아를으년나부도스일정수과전제그상라동해구원국여주공장보있관학"
        "화들유신조성선비만미소안모니경중우드트마세오방교생문진연역물식양개회계발면산용위차분내게날남북울치음속심"
        "실업예약외요월입작절점접종질집채체초최출파편포표품피필합형호환활황후흰색강꽃새폴더캡처불량습험김빨노검얀"
        "흑백녀거곰랑바딸튤립카톡"
    ),  # Korean
}
# The first bytes of the characters that the makers of each code page found frequent.
FREQUENT = {
    "cp932": range(0x88, 0x98),
    "gbk": range(0xB0, 0xD8),
    "big5": range(0xA4, 0xC7),
    "cp949": range(0xB0, 0xC9),
}
# Bits against a code page: Windows writes names in that of the terminal, which is an IBM one where there are two.
PRIORS = {
    **{"cp437": 0, "cp850": 0.5, "cp852": 3.5, "cp1252": 2, "cp1250": 4, "cp1251": 2, "cp1253": 2, "cp857": 2},
    **{"cp1254": 3.5, "cp862": 6, "cp1255": 6, "cp1256": 6, "cp874": 6},
}


def scripts() -> list[tuple[str, Script]]:
    """Return each code page with each of its languages, the most plausible first."""
    found = [
        *((page, Script(_rank(letters), latin=True)) for letters, pages in LATIN.items() for page in pages),
        *((page, Script(_rank(letters))) for letters, pages in OTHERS.items() for page in pages),
        *((page, Script(_rank(letters), wide=True)) for page, letters in WIDE.items()),
    ]
    return sorted(found, key=lambda row: PRIORS.get(row[0], 1))


def _rank(letters: str) -> dict[str, int]:
    return {letter: place for place, letter in enumerate(letters)}
