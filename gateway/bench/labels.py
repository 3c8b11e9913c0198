"""The words of the tables, English first, then Chinese."""

from __future__ import annotations

from typing import Final

from gateway.texts import Language

LABELS: Final[dict[str, tuple[str, str]]] = {
    # titles
    "speed": ("speed", "速度测试"),
    "reliability": ("reliability", "可靠性测试"),
    "concurrent": ("connections side by side", "并发测试"),
    "sizes": ("message sizes", "数据包大小测试"),
    "bandwidth": ("bandwidth", "带宽测试"),
    "upload": ("upload, one way", "上传测试 (单向)"),
    "download": ("download, one way", "下载测试 (单向)"),
    # rows of a box
    "duration": ("duration", "测试时长"),
    "total_bytes": ("total bytes", "总字节数"),
    "total_messages": ("total messages", "总数据包数"),
    "good_messages": ("good messages", "成功数据包"),
    "failed_messages": ("failed messages", "失败数据包"),
    "lost": ("connection failures", "连接失败次数"),
    "success": ("success", "成功率"),
    "mean_speed": ("mean speed", "平均速度"),
    "least": ("least latency", "最小延迟"),
    "most": ("most latency", "最大延迟"),
    "mean": ("mean latency", "平均延迟"),
    "rate": ("throughput", "吞吐量"),
    "direct_speed": ("without a relay", "无中继"),
    "ratio": ("ratio", "比值"),
    "scrapes": ("scrapes beside it", "同时抓取"),
    "scrapes_are": (
        "{rate} a second, slowest {slowest}",
        "每秒 {rate} 次, 最慢 {slowest}",
    ),
    # headings of a table
    "connections": ("conns", "并发数"),
    "size": ("size", "数据包大小"),
    "short_mean": ("mean", "平均延迟"),
    "scaling": ("scaling", "提升"),
    "short_lost": ("failures", "连接失败"),
    "total": ("total MB", "总量 MB"),
    "direct": ("direct MB/s", "无中继 MB/s"),
    # winners
    "fastest": ("fastest", "最快速度"),
    "widest": ("maximum bandwidth", "最大带宽"),
    "best_success": ("best success", "最高成功率"),
    "best_latency": ("lowest latency", "最低延迟"),
    "best_rate": ("highest throughput", "最高吞吐量"),
    # notes
    "parameters": ("parameters: {settings}", "参数: {settings}"),
    "connections_are": ("connections {count}", "并发数 {count}"),
    "size_is": ("size {size}", "数据包大小 {size}"),
    "each": ("duration {seconds} s", "时长 {seconds} s"),
    "workers": ("load workers {count}", "负载进程 {count}"),
    "load_limit": ("the load generator was the limit", "负载生成器是瓶颈"),
    "far_limit": ("the far end was the limit", "远端是瓶颈"),
    "limit": (
        "{who}{where}: it ran {ran} of the time{what}",
        "{who}{where}: 运行时间占 {ran}{what}",
    ),
    "waited": (" and waited {share} for a free core", ", 等待空闲核占 {share}"),
    "limit_in": (" in {cases}", " ({cases})"),
    "limit_often": (" in {some} of {all} rows", " (占 {some}/{all} 行)"),
    "more_workers": ("; try more --workers", "; 请增加 --workers"),
    "fault": ("first fault: {fault}", "首个错误: {fault}"),
}


def label(key: str, language: Language, **fields: object) -> str:
    """Return one of the words with its fields filled in."""
    english, chinese = LABELS[key]
    return (chinese if language == "zh" else english).format(**fields)
