"""Who serves a host, by its name. The values are those of `gen_ai.provider.name`; knows nothing of bodies.

Values beyond the OpenTelemetry list (openrouter, together_ai, ...) follow its spelling. A host that is not listed (a
gateway, a local server) is named after the family of its api: `openai_compatible`, `anthropic_compatible`,
`gemini_compatible`, `cohere_compatible`.
"""

from functools import lru_cache

from tokenflation.sdk.wire.endpoints.recognise import CHAT, FAL, FAL_MODELS, LLAMA, ROOT

__all__ = ["provider_of", "served_as"]

_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "openai.azure.us": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.ai.azure.com": "azure.ai.inference",
    "models.inference.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "claude.googleapis.com": "anthropic",
    "prediction.vertexai.goog": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "codestral.mistral.ai": "mistral_ai",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "openrouter.ai": "openrouter",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.voyageai.com": "voyage_ai",
    "ai.mongodb.com": "voyage_ai",
    "api.jina.ai": "jina_ai",
    "api.writer.com": "writer",
    "amazonaws.com": "aws.bedrock",
    "api.aws": "aws.bedrock",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "wxai.ibm.com": "ibm.watsonx.ai",
    "api.aleph-alpha.com": "aleph_alpha",
    "api.together.xyz": "together_ai",
    "api.together.ai": "together_ai",
    "api-inference.together.ai": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
    "api.cerebras.ai": "cerebras",
    "api.sambanova.ai": "sambanova",
    "huggingface.co": "huggingface",
    "huggingface.cloud": "huggingface",
    "api.z.ai": "z_ai",
    "bigmodel.cn": "z_ai",
    "api.minimax.io": "minimax",
    "dashscope.aliyuncs.com": "alibaba_cloud",
    "dashscope-intl.aliyuncs.com": "alibaba_cloud",
    "dashscope-us.aliyuncs.com": "alibaba_cloud",
    "maas.aliyuncs.com": "alibaba_cloud",
    "integrate.api.nvidia.com": "nvidia",
    "ai.api.nvidia.com": "nvidia",
    "inference.heroku.com": "heroku",
    "snowflakecomputing.com": "snowflake",
    "ollama.com": "ollama",
    "api.replicate.com": "replicate",
    "models.github.ai": "github",
    "ai-gateway.vercel.sh": "vercel",
    "api.ai21.com": "ai21",
    "api.portkey.ai": "portkey",
    "gateway.ai.cloudflare.com": "cloudflare",
    "gigachat.devices.sberbank.ru": "gigachat",
    "api.cloudflare.com": "cloudflare",
    "ml.hana.ondemand.com": "sap",
    "api.deepinfra.com": "deepinfra",
    "qianfan.baidubce.com": "baidu",
    "aip.baidubce.com": "baidu",
    "hunyuan.tencentcloudapi.com": "tencent_cloud",
    "hunyuan.cloud.tencent.com": "tencent_cloud",
    "lkeap.cloud.tencent.com": "tencent_cloud",
    "ark.cn-beijing.volces.com": "volcengine",
    "ark.ap-southeast.bytepluses.com": "volcengine",
    "api.stepfun.com": "stepfun",
    "api.stepfun.ai": "stepfun",
    "api.minimaxi.com": "minimax",
    "api.lingyiwanwu.com": "01_ai",
    "api.siliconflow.cn": "siliconflow",
    "api.siliconflow.com": "siliconflow",
    "api.novita.ai": "novita",
    "api.studio.nebius.com": "nebius",
    "api.studio.nebius.ai": "nebius",
    "api.tokenfactory.nebius.com": "nebius",
    "api.deepgram.com": "deepgram",
    "api.elevenlabs.io": "elevenlabs",
    "api.assemblyai.com": "assemblyai",
    "api.runpod.ai": "runpod",
    "discoveryengine.googleapis.com": "gcp.discovery_engine",
    "us-discoveryengine.googleapis.com": "gcp.discovery_engine",
    "eu-discoveryengine.googleapis.com": "gcp.discovery_engine",
    "api.reka.ai": "reka",
    "fal.run": "fal_ai",
    "api.nvcf.nvidia.com": "nvidia",
    "api.minimax.chat": "minimax",
    "api.llama.com": "meta",
    "pinecone.io": "pinecone",
    "api.dify.ai": "dify",
    "ai.api.cloud.yandex.net": "yandex_cloud",
    "llm.api.cloud.yandex.net": "yandex_cloud",
    "clovastudio.stream.ntruss.com": "naver_cloud",
    "clovastudio.apigw.ntruss.com": "naver_cloud",
}
_AT_ROOT = frozenset({"huggingface", "tencent_cloud"})


@lru_cache(maxsize=1024)
def provider_of(host: str, compatible: str) -> str:
    """Return who serves `host` (a port is ignored), or `compatible` for a host that is not listed."""
    name = host.lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    if name.endswith(".googleapis.com"):  # us-central1-aiplatform., aiplatform.eu.rep., aiplatform.mtls.googleapis.com
        service = name.partition(".")[0]
        if service.endswith("aiplatform"):
            return "gcp.vertex_ai"
        if service == "generativelanguage":
            return "gcp.gemini"
    if name.startswith("aws-external-anthropic."):  # ...us-east-1.api.aws
        return "anthropic"
    if name.startswith("inference.generativeai.") and ".oci." in name:  # ...us-chicago-1.oci.oraclecloud.com
        return "oci"
    while name:
        provider = _HOSTS.get(name)
        if provider is not None:
            return provider
        name = name.partition(".")[2]
    return compatible


@lru_cache(maxsize=256)
def served_as(api: str, host: str) -> str | None:
    """Return what a request to this host is, whose path was recognised as `api`; None: nothing of ours.

    A model at its root only few have; fal.ai's queue takes what its other host answers; Meta's chats are its own.
    """
    if api == ROOT:
        return api if provider_of(host, "") in _AT_ROOT else None
    if api == CHAT and provider_of(host, "") == "meta":
        return LLAMA
    return FAL_MODELS if api == FAL and host.lower().startswith("queue.") else api
