"""Every text that a user may read in English or Chinese.

One catalogue for API messages and for the documented log phrases.  The Chinese
column is the wording that existing scripts and documents search for, so it
must not be changed; the English column may say more.
"""

from __future__ import annotations

from typing import Final, Literal

Language = Literal["en", "zh"]

# English first, then Chinese
CATALOGUE: Final[dict[str, tuple[str, str]]] = {
    "mapping_created": ("mapping created", "端口映射创建成功"),
    "mapping_removed": ("mapping removed", "端口映射删除成功"),
    "mapping_updated": ("mapping updated", "端口映射更新成功"),
    "mapping_found": ("mapping found", "获取映射成功"),
    "mappings_listed": ("mappings listed", "获取映射列表成功"),
    "stats_found": ("statistics found", "获取统计成功"),
    "history_found": ("traffic history found", "获取流量历史成功"),
    "traffic_found": ("traffic statistics found", "获取流量统计成功"),
    "connections_listed": ("connections listed", "获取连接列表成功"),
    "connection_ended": ("connection ended", "连接已断开"),
    "agent_disconnected": ("agent disconnected", "客户端已断开"),
    "connection_missing": (
        "there is no connection {id} any more",
        "连接 {id} 已不存在",
    ),
    "agent_missing": (
        "agent {name} is not connected",
        "客户端 {name} 未连接",
    ),
    "agents_listed": ("agents listed", "获取客户端列表成功"),
    "bad_request": ("malformed request: {detail}", "请求格式错误: {detail}"),
    "body_too_large": (
        "request body is longer than {limit} bytes, which is the limit",
        "请求体过大, 上限 {limit} 字节",
    ),
    "content_type": (
        "content type {value!r} is not accepted; send application/json",
        "请求头 Content-Type 必须是 application/json",
    ),
    "not_found": ("no such route: {path}", "接口不存在: {path}"),
    "only_post": ("only POST is supported here", "只支持 POST 方法"),
    "only_get": ("only GET is supported here", "只支持 GET 方法"),
    "port_range": (
        "port {port} is outside the public range {first}-{last}",
        "端口必须在 {first}-{last} 范围内",
    ),
    "port_blacklisted": (
        "port {port} is on the blacklist and may not be opened",
        "端口 {port} 在黑名单中, 禁止使用",
    ),
    "port_forbidden": (
        "denied: port {port} is not among this agent's ({ports})",
        "拒绝: 端口 {port} 不在此代理的端口范围内 ({ports})",
    ),
    "port_mapped": (
        "port {port} is taken: a mapping for it exists already",
        "端口已被占用, 已经存在该映射",
    ),
    "port_in_use": (
        "port {port} is in use by another program on this machine ({detail})",
        "系统内端口已被占用",
    ),
    "port_privileged": (
        "port {port} needs privileges: grant CAP_NET_BIND_SERVICE or take a port "
        "of 1024 or above",
        "端口 {port} 需要特权: 请授予 CAP_NET_BIND_SERVICE 或使用 1024 以上的端口",
    ),
    "listen_failed": (
        "cannot listen on {address} port {port}: {detail}",
        "无法监听 {address} 端口 {port}: {detail}",
    ),
    "no_free_port": (
        "no free port is left in {first}-{last}",
        "{first}-{last} 范围内没有可用端口",
    ),
    "mapping_missing": ("no mapping on port {port}", "端口映射不存在"),
    "mapping_of_agent": (
        "the mapping on port {port} belongs to agent {agent!r} and is changed there",
        "端口 {port} 的映射由客户端 {agent} 注册, 请在客户端修改",
    ),
    "mapping_of_config": (
        "the mapping on port {port} stands in the configuration and is changed there",
        "端口 {port} 的映射在配置文件中, 请修改配置文件",
    ),
    "bad_target": ("bad target: {detail}", "目标地址无效: {detail}"),
    "target_denied": (
        "target {host}:{port} is not allowed: {detail}",
        "目标 {host}:{port} 不被允许: {detail}",
    ),
    "tunnel_disabled": ("the tunnel service is disabled", "隧道服务未启用"),
    "too_many_mappings": (
        "{limit} mappings exist; the limit is {limit}",
        "映射数量已达上限 {limit}",
    ),
    "stopping": ("the gateway stops and opens nothing more", "网关正在停止"),
    "store_failed": ("the mapping store failed: {detail}", "存储失败: {detail}"),
    "internal": (
        "internal error; the log has the details",
        "内部错误, 详情见日志",
    ),
    "request_timeout": (
        "the request took longer than {seconds} seconds",
        "请求超时: 超过 {seconds} 秒",
    ),
    "negative_bandwidth": (
        "the bandwidth limit must be 0 or more",
        "带宽限制必须大于等于0",
    ),
    "agent_key_exists": (
        "agent {name} has a key; rotate or revoke it",
        "客户端 {name} 已有密钥, 请轮换或吊销",
    ),
    "agent_key_missing": ("agent {name} has no key", "客户端 {name} 没有密钥"),
    "agent_key_unused": (
        "agent {name} has never used its newest key, {key_id}, and could not come "
        "back without the older one; give it the key and let it read it (SIGHUP), "
        "or force it",
        "客户端 {name} 从未使用过新密钥 {key_id}, 停用旧密钥后将无法连接; "
        "请先部署新密钥并让客户端重新读取 (SIGHUP), 或强制停用",
    ),
    "reload_failed": (
        "not reloaded, nothing has changed: {detail}",
        "重新加载失败, 未作任何更改: {detail}",
    ),
    "agent_key_of_config": (
        "the key of agent {name} stands in the configuration; change it there",
        "客户端 {name} 的密钥由配置文件定义, 请修改配置",
    ),
    "legacy_allowed": (
        "tunnel.allow_legacy is true and admits agents without a key; set it to auto",
        "tunnel.allow_legacy 为 true, 允许无密钥的客户端; 请改为 auto",
    ),
    "ban_missing": ("{network} is not banned", "{network} 未被封禁"),
    "ban_added": ("ban added", "封禁成功"),
    "ban_removed": ("ban removed", "解封成功"),
    "log_listed": ("log lines listed", "获取日志成功"),
    "log_levels_listed": ("log levels listed", "获取日志级别成功"),
    "log_level_set": ("log level set", "日志级别设置成功"),
    "bans_listed": ("bans listed", "获取封禁列表成功"),
    "audit_listed": ("audit log listed", "获取审计日志成功"),
    "reloaded": ("reloaded", "重新加载成功"),
    "limits_listed": ("limits listed", "获取限额成功"),
    "agent_key_created": ("agent key created", "客户端密钥创建成功"),
    "agent_key_updated": ("agent key updated", "客户端密钥更新成功"),
    "agent_key_retired": ("older agent key retired", "旧客户端密钥已停用"),
    "agent_key_revoked": ("agent key revoked", "客户端密钥已吊销"),
    "agent_keys_listed": ("agent keys listed", "获取客户端密钥列表成功"),
    "unauthorized": ("Unauthorized", "Unauthorized"),
    "token_expired": (
        "Invalid token: it expired at {at} UTC; issue another (gotunnel token)",
        "Invalid token: 令牌已于 {at} UTC 过期, 请重新签发 (gotunnel token)",
    ),
    "invalid_token": ("Invalid token", "Invalid token"),
    "too_many_requests": (
        "too many requests; try again in {seconds:.1f} seconds",
        "请求过于频繁, 请在 {seconds:.1f} 秒后重试",
    ),
    "too_many_streams": (
        "{limit} event streams are open, which is the limit; end one of them",
        "事件流数量已达上限 {limit}",
    ),
    "bad_api_key": ("Invalid API key", "无效的 API 密钥"),
    "role_denied": (
        "Access denied: the role {role} may only look; this needs the role admin",
        "Access denied: 角色 {role} 只有查看权限, 此操作需要角色 admin",
    ),
    "access_denied": ("Access denied", "Access denied"),
    "not_available": (
        "{feature} is not available yet",
        "{feature} 尚未支持",
    ),
    # log phrases
    "link_up": ("agent link up", "隧道客户端已连接"),
    "link_down": ("agent link down", "隧道客户端已断开"),
    "forward_started": ("port forwarding started", "端口转发启动"),
    "forward_stopped": ("port forwarding stopped", "端口转发已停止"),
    "stream_opened": ("connection opened", "连接建立"),
    "stream_closed": ("connection closed", "连接关闭"),
    "open_timeout": ("connection timed out", "连接超时"),
    "bad_version": (
        "unsupported protocol version: {version}",
        "不支持的协议版本: {version}",
    ),
    "unknown_kind": ("unknown message type: {kind}", "未知消息类型: {kind}"),
    # registrations; the English words are part of the wire format
    "authentication_failed": ("authentication failed", "authentication failed"),
    "max_tunnels": ("max tunnels reached", "max tunnels reached"),
    "no_available_port": ("no available port", "no available port"),
    "invalid_protocol": (
        "invalid protocol: {protocol}",
        "invalid protocol: {protocol}",
    ),
    # configuration
    "config_link_port": (
        "the tunnel port must be greater than 0",
        "内网穿透端口必须大于 0",
    ),
    "config_api_port": ("the API port must be greater than 0", "API 端口必须大于 0"),
    "config_database": ("the database path must not be empty", "数据库路径不能为空"),
}


def text(key: str, language: Language, **fields: object) -> str:
    """Return one text of the catalogue with its fields filled in.

    Raises:
        KeyError: the catalogue has no such key, or a field is missing.
    """
    english, chinese = CATALOGUE[key]
    return (chinese if language == "zh" else english).format(**fields)


class Texts:
    """The catalogue in one language; what a component that logs is given."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._plain: dict[str, str] = {}  # texts without fields, as they were asked for

    def __call__(self, key: str, **fields: object) -> str:
        """Return one text with its fields filled in."""
        if fields:
            return text(key, self.language, **fields)
        found = self._plain.get(key)
        if found is None:
            found = self._plain[key] = text(key, self.language)
        return found
