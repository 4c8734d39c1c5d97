// What the page says, in each of its languages.
export const WORDS = {
  en: {
    interface: "Interface", source: "From", target: "To", swap: "Swap languages", text: "Text", translation: "Translation",
    clear: "Clear", copy: "Copy", copied: "Copied", alternatives: "Alternatives", request: "This as a request",
    detect: "Detect language", key: "API key", inside: "Look inside", weights: "What each piece of the translation (a row) looked at in the text (columns), in per cent: the last decoder layer, mean over its heads.", plain: "Text", file: "File", choose: "Choose a file", send: "Translate", download: "Download", working: "Translating …", offline: "The server does not answer.",
    repeats: "This repeats itself: the model does not know the text.", missing: "No room for terms of the glossary:", characters: "characters", placeholder: "Type here",
    other: "中文", found: "It is",
  },
  zh: {
    interface: "接口", source: "源语言", target: "目标语言", swap: "交换语言", text: "原文", translation: "译文",
    clear: "清空", copy: "复制", copied: "已复制", alternatives: "其他译法", request: "对应的请求",
    detect: "自动检测", key: "API 密钥", inside: "看看内部", weights: "译文的每个词片（行）看了原文的哪里（列），单位为百分之一：解码器最后一层各个头的平均。", plain: "文本", file: "文件", choose: "选择文件", send: "翻译", download: "下载", working: "正在翻译……", offline: "服务器没有响应。",
    repeats: "译文自我重复：模型不认识这段文字。", missing: "译文放不下术语表里的词：", characters: "个字符", placeholder: "在此输入",
    other: "English", found: "检测为",
  },
};
