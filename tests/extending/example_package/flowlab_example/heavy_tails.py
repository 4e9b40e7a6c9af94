"""A map for `flow.map`: a class of maps, and the function that builds one from the settings of a flow."""

from flowlab.bijectors.maps import Map


class HeavyTails(Map):
    """y = sinh(exp(raw) asinh(x)) + shift: a raw parameter above 0 makes the tails heavier.

    Reference:
        | Sinh-arcsinh distributions (M. C. Jones, Arthur Pewsey, 2009)
        | https://doi.org/10.1093/biomet/asp053
    """

    size = 2

    def forward_and_log_det(self, x, parameters):
        shift, raw = parameters.unbind(-1)
        return (raw.exp() * x.asinh()).sinh() + shift, self._log_det(x, raw)

    def inverse_and_log_det(self, y, parameters):
        shift, raw = parameters.unbind(-1)
        x = ((-raw).exp() * (y - shift).asinh()).sinh()
        return x, -self._log_det(x, raw)

    @staticmethod
    def _log_det(x, raw):
        return raw + (raw.exp() * x.asinh()).cosh().log() - 0.5 * x.square().log1p()


def heavy_tails(flow):
    return HeavyTails()
